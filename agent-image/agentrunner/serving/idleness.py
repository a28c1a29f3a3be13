"""Since when a session has nothing to do: no turn, nobody who follows, nothing at work in the background."""

from collections.abc import Callable
from datetime import datetime

_SHELL = "local_bash"


class Idleness:
    """Remembers when a session became idle. `clock` returns the time in UTC.

    `background`: processes beside the CLI. `tasks`: kinds of what the CLI itself has in the background (`task_type`).
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._since: datetime | None = clock()
        self.background = 0
        self.tasks: tuple[str, ...] = ()

    @property
    def since(self) -> datetime | None:
        """Since when there is nothing to do; None while there is."""
        return self._since

    @property
    def delegates(self) -> bool:
        """Whether somebody works for the agent in the background. A shell does not count: it may be a server."""
        return any(kind != _SHELL for kind in self.tasks)

    def note(self, *, busy: bool, streams: int) -> bool:
        """Take note of what goes on; return whether that changed the answer."""
        works = busy or streams > 0 or self.background > 0 or bool(self.tasks)
        before = self._since
        self._since = None if works else before or self._clock()
        return (before is None) is not (self._since is None)
