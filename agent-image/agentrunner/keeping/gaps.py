"""Half lines in a transcript: the CLI goes on where there was no room for what it wrote, and says nothing of it.

What it writes next is glued to what is left of the line, and lost with it. That something is missing it can bear: it
goes on with what was before.
"""

import os
from pathlib import Path


def end_half_line(path: Path) -> None:
    """End a transcript's last line if nobody has: nothing that is in a store already changes by that.

    No process may write it meanwhile. Raises OSError if there is no room.
    """
    try:
        with path.open("rb+") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
    except FileNotFoundError:
        return
