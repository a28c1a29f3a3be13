"""What routes and streams need of a session: one of many on a host, or the only one of its pod."""

from typing import Protocol

from agentrunner.serving.eventlog import EventLog
from agentrunner.serving.places import SessionPlaces
from agentrunner.serving.standing import Identity
from agentrunner.serving.turns import Turn
from agentsessions.api.host import Beginning, HostSession


class Talk(Protocol):
    """A session that can be talked to."""

    who: Identity
    places: SessionPlaces
    events: EventLog

    @property
    def beginning(self) -> Beginning:
        """With what the session began here."""

    @property
    def interrupted(self) -> bool:
        """Whether the last turn before this beginning was cut."""

    def state(self) -> HostSession:
        """Return how the session stands."""

    def submit(self, prompt: str, key: str | None, *, reject_when_busy: bool) -> Turn:
        """Take a message; raises Problem."""

    async def interrupt(self) -> bool:
        """End the running turn; return whether there was one."""

    def entered(self, by: int) -> None:
        """Count a client that follows the session, or one that left (-1)."""
