"""Errors of the archive. Their texts hold no key and no address with credentials.

ArchiveError
├── ArchiveTooLarge      the workspace is larger than `workspace.archive.maxSize`
├── ArchiveCorrupt       what the bucket holds is not what was packed; nothing on disk was changed
├── ArchiveUnreachable   the bucket did not answer; trying again can help
├── ArchiveRefused       the bucket answered, and will not let it be done
├── ArchiveConflict      what is on disk and what is in the bucket do not follow from each other
└── ArchiveBlocked       the pod's own disk does not let the files be read or written
"""

from agentrunner.errors import RunnerError

_STEP = 1024
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


class ArchiveError(RunnerError):
    """Base: the workspace was neither packed nor unpacked, and the archive before is what it was."""


class ArchiveTooLarge(ArchiveError):
    """There is more than may be packed or unpacked."""

    def __init__(self, found: int, limit: int) -> None:
        super().__init__(
            f"the workspace takes {in_words(found)} before compression, more than the {in_words(limit)} that "
            "`workspace.archive.maxSize` allows: raise it, or have files removed"
        )


class ArchiveCorrupt(ArchiveError):
    """The archive is damaged, or was altered."""


class ArchiveUnreachable(ArchiveError):
    """The bucket cannot be reached now."""


class ArchiveRefused(ArchiveError):
    """The bucket refuses: the key, the bucket's name or what it may do is wrong."""


class ArchiveConflict(ArchiveError):
    """Files would be lost by going on: in the bucket or on disk there are others than those expected."""


class ArchiveBlocked(ArchiveError):
    """A file or directory of the pod cannot be read or written."""

    @classmethod
    def by(cls, error: OSError) -> "ArchiveBlocked":
        """Return it for what the system said."""
        name = "" if error.filename is None else f" at {ascii(error.filename)[:200]}"
        return cls(f"the pod's disk says: {error.strerror or type(error).__name__}{name}")


def in_words(size: int) -> str:
    """Return a number of bytes for people."""
    amount, unit = float(size), 0
    while amount >= _STEP and unit < len(_UNITS) - 1:
        amount, unit = amount / _STEP, unit + 1
    return f"{size} bytes" if unit == 0 else f"{amount:.1f} {_UNITS[unit]}"
