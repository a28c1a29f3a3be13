"""Turns that the CLI begins without a message, when something in the background has ended: since when one goes on."""

import asyncio
from collections.abc import Callable

from claude_agent_sdk import AssistantMessage, Message, ResultMessage

OVERDUE = (
    "A turn that the agent began by itself took longer than one may (`limits.turnDeadlineSeconds`) and was ended. "
    "What it had done so far is kept."
)


class Unasked:
    """The turn of the CLI's own that runs, if one does. `clock` is in monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: float | None = None
        self.over = asyncio.Event()

    @property
    def runs(self) -> bool:
        """Whether there is one."""
        return self._since is not None

    def note(self, message: Message, *, asked: bool) -> None:
        """Take note of what the CLI says; `asked`: in the turn of a message."""
        if asked or isinstance(message, ResultMessage):
            self.end()
        elif isinstance(message, AssistantMessage) and message.parent_tool_use_id is None and self._since is None:
            self._since = self._clock()
            self.over.clear()

    def end(self) -> None:
        """It is over, or its process is."""
        self._since = None
        self.over.set()

    def is_overdue(self, seconds: float | None) -> bool:
        """Return whether it takes longer than a turn may."""
        return seconds is not None and self._since is not None and self._clock() - self._since > seconds
