"""Session hosts without a network or agents: what each holds, and what an operator has heard of them."""

from collections.abc import Callable
from dataclasses import dataclass, field

from agentsessions.api.host import Activation, Beginning, HostSession
from agentsessions.hosts.client import HostAddress
from agentsessions.hosts.errors import Busy, HostError, Refused
from agentsessions.hosts.views import HostView
from unit.hosts.fakehost import make_host_session
from unit.make import NOW


@dataclass
class Hosts:
    """Client and streams in one: `held` is what each host has, by the pod's uid, `views` what the operator heard.

    `draining` are the hosts that were told to stop, by the pod's uid.
    """

    held: dict[str, dict[str, HostSession]] = field(default_factory=dict)
    draining: set[str] = field(default_factory=set)
    views: dict[str, HostView] = field(default_factory=dict)
    given: list[Activation] = field(default_factory=list)
    asked: list[bool] = field(default_factory=list)
    deleted: list[tuple[str, str]] = field(default_factory=list)
    archived: list[str] = field(default_factory=list)
    beginning: Beginning = Beginning.FRESH
    interrupted: bool = False
    refusal: HostError | None = None
    on_session: Callable[[HostView, HostSession], None] = lambda *_: None
    on_host: Callable[[HostView], None] = lambda _: None

    def hosts(self) -> list[HostView]:
        """Return what was heard of every host."""
        return list(self.views.values())

    def host(self, uid: str) -> HostView | None:
        """Return what was heard of a host."""
        return self.views.get(uid)

    def holders(self, session_id: str) -> list[HostView]:
        """Return the hosts that hold a session."""
        return [view for view in self.views.values() if session_id in view.sessions]

    def add(self, address: HostAddress) -> None:
        """Follow a host; it has said nothing yet."""
        self.views.setdefault(address.uid, HostView(address))

    def session(self, session_id: str, uid: str) -> HostSession | None:
        """Return what a host last told of a session."""
        view = self.views.get(uid)
        return view.session(session_id) if view is not None else None

    def learn(self, uid: str, session: HostSession, before: HostSession | None) -> None:
        """Take note of an answer."""
        if uid in self.views and self.views[uid].heard:
            self.views[uid] = self.views[uid].with_session(session)

    def unlearn(self, uid: str, session_id: str) -> None:
        """Take note of a session that was taken away."""
        if uid in self.views:
            self.views[uid] = self.views[uid].without(session_id)

    async def activate(self, host: HostAddress, activation: Activation) -> HostSession:
        """Take a session."""
        if self.refusal is not None:
            raise self.refusal
        self.given.append(activation)
        made = make_host_session(
            str(activation.session_id),
            activation.name,
            activation.namespace,
            beginning=self.beginning,
            interrupted=self.interrupted,
            durable=True,
            idle_since=NOW,
        )
        return self.held.setdefault(host.uid, {}).setdefault(str(activation.session_id), made)

    async def suspend(self, host: HostAddress, session_id: str, *, patient: bool) -> HostSession:
        """Begin to put a session away."""
        self.asked.append(patient)
        known = self.held.get(host.uid, {}).get(session_id)
        if known is None:
            raise Refused(404, "session-not-found", "")
        if known.idle_since is None and not patient:
            raise Busy(409, "session-busy", "")
        return known

    async def delete(self, host: HostAddress, session_id: str, files: str, *, archive: bool = False) -> None:
        """Let go of a session."""
        self.deleted.append((session_id, files))
        self.archived += [session_id] if archive else []
        self.held.get(host.uid, {}).pop(session_id, None)
