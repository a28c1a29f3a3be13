"""A node's volumes on a filesystem so small that it can be filled: then nobody can write there, by ENOSPC.

Local cluster only, whose nodes are mount namespaces of this machine.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.commands import run
from cluster.local import settings
from cluster.local.provider import LocalProvider

_MEGABYTES = 256
_FILLED = "filled"


@contextmanager
def small(provider: LocalProvider, node: str) -> Iterator[None]:
    """Let the claims that are made on a node from now on lie on a small filesystem; in the end it is gone with them.

    What is on volumes already, and is used, is not touched.
    """
    inside, folder = provider.inside(node), str(_volumes(node))
    run([*inside, "mount", "-t", "tmpfs", "-o", f"size={_MEGABYTES}M,mode=755", "small", folder])
    try:
        yield
    finally:
        run([*inside, "umount", "--lazy", folder])


def fill(provider: LocalProvider, node: str, seconds: float) -> None:
    """Leave no room on it, and give it back after a while."""
    inside, file = provider.inside(node), str(_volumes(node) / _FILLED)
    run([*inside, "sh", "-c", f'head -c {2 * _MEGABYTES}M /dev/zero 2>/dev/null > "$1" || true', "sh", file])
    room = run([*inside, "df", "--output=avail", file]).split()[-1]
    try:
        assert room == "0", f"there are still {room} KiB of room"
        time.sleep(seconds)
    finally:
        run([*inside, "rm", file])


def _volumes(node: str) -> Path:
    """Return where a node's volumes are."""
    (folder,) = [one.folder for one in settings.load().nodes if one.name == node]
    return folder / "volumes"
