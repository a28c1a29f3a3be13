"""What is known of each host from its own words: pure bookkeeping, no connection in sight."""

from dataclasses import dataclass, field, replace

from agentsessions.api.host import HostSession, HostSnapshot, Origin
from agentsessions.hosts.client import HostAddress


@dataclass(frozen=True, slots=True)
class HostView:
    """One host as it was last heard. `heard`: it has told of its sessions at least once; `connected`: it still does."""

    address: HostAddress
    connected: bool = False
    heard: bool = False
    incarnation: str = ""
    capacity: int = 0
    draining: bool = False
    sessions: dict[str, HostSession] = field(default_factory=dict)

    def session(self, session_id: str) -> HostSession | None:
        """Return a session that the host holds."""
        return self.sessions.get(session_id)

    def replaced_by(self, told: HostSnapshot) -> "HostView":
        """Return the view after a snapshot, which is all that there is: what it does not name is gone."""
        return replace(
            self,
            connected=True,
            heard=True,
            incarnation=told.incarnation,
            capacity=told.capacity,
            draining=told.draining,
            sessions={str(session.session_id): session for session in told.sessions},
        )

    def with_session(self, session: HostSession) -> "HostView":
        """Return the view after news of one session."""
        return replace(self, sessions=self.sessions | {str(session.session_id): session})

    def without(self, session_id: str) -> "HostView":
        """Return the view after a session left the host."""
        return replace(self, sessions={key: one for key, one in self.sessions.items() if key != session_id})

    def ids(self, origin: Origin | None = None) -> set[str]:
        """Return the ids of the host's sessions, all or those of one origin."""
        return {key for key, one in self.sessions.items() if origin in (None, one.origin)}


def changed(before: HostView, after: HostView) -> list[HostSession]:
    """Return the sessions that are new, differ, or are gone, as last known."""
    came = [one for key, one in after.sessions.items() if before.sessions.get(key) != one]
    return came + [one for key, one in before.sessions.items() if key not in after.sessions]
