"""Half lines in a transcript: the CLI goes on where there was no room for what it wrote, and says nothing of it.

What it writes next is glued to what is left of the line, and lost with it. That something is missing it can bear: it
goes on with what was before.
"""

import os
from contextlib import suppress
from pathlib import Path


def end_half_line(path: Path) -> None:
    """End a transcript's last line if nobody has: nothing that is in a store already changes by that.

    No process may write it meanwhile. Where there is no room for that either nothing is done: the volume is told of by
    what cannot go on without it, and before a turn begins there is another try.
    """
    with suppress(OSError), path.open("rb+") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.write(b"\n")
