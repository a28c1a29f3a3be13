"""Who takes part in a task while it runs: by itself nobody, with a door its clients (`serving.solo`)."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from claude_agent_sdk import Message

from agentsessions.api.status import Usage

if TYPE_CHECKING:
    from agentrunner.serving.turns import Turn


@dataclass(slots=True)
class Facts:
    """What the attempt knows of its process; it keeps this up to date."""

    pid: int | None = None
    resumed: bool = False
    usage: Usage = field(default_factory=Usage)


class Company:
    """Nobody: there is only the prompt."""

    def __init__(self) -> None:
        self.facts = Facts()
        self.draining = False

    @asynccontextmanager
    async def present(self, on_interrupt: Callable[[], None]) -> AsyncGenerator[None, None]:
        """Be there for as long as the block lasts; `on_interrupt` ends the turn that runs."""
        yield

    def drain(self) -> None:
        """Take no more messages: the pod was told to stop."""
        self.draining = True

    async def next(self) -> "Turn | None":
        """Return the next message to answer; None when there is none, and there will be none from then on."""
        return None

    def heard(self, message: Message) -> None:
        """Take note of what the agent says."""

    def answered(self) -> None:
        """Take note that the running turn is done."""

    def close(self) -> None:
        """Take note that the task is over."""
