"""Follows the events of every live host and keeps what they last said; shared by the operator and the directory.

Nothing here is written down anywhere: a new process connects again, and the first event of each stream tells it all.
"""

import asyncio
import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from agentsessions import logs, metrics
from agentsessions.api.host import HostEvent, HostSession, HostSnapshot, Scope
from agentsessions.hosts.client import HostAddress, HostClient
from agentsessions.hosts.errors import HostError
from agentsessions.hosts.sse import ServerEvent, server_events
from agentsessions.hosts.views import HostView, changed

_FIRST_BACKOFF = 0.25
_LAST_BACKOFF = 10.0
_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError)
"""What comes of an event that is not what this version expects; pydantic's ValidationError is a ValueError."""


def _ignore(*_: object) -> None:
    """Do nothing about a change."""


@dataclass
class HostStreams:
    """One task for each host. `on_session` is told of every session that changed, came or went; `on_host` of hosts.

    Callbacks are called at once, in the event loop, after the change is in place; they must not wait.
    """

    client: HostClient
    scope: Scope = Scope.HOST
    on_session: Callable[[HostView, HostSession], None] = _ignore
    on_host: Callable[[HostView], None] = _ignore
    first_backoff: float = _FIRST_BACKOFF
    _views: dict[str, HostView] = field(default_factory=dict)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def host(self, pod_uid: str) -> HostView | None:
        """Return what is known of a host, or None if it is not followed."""
        return self._views.get(pod_uid)

    def hosts(self) -> list[HostView]:
        """Return what is known of every host."""
        return list(self._views.values())

    def session(self, session_id: str, pod_uid: str) -> HostSession | None:
        """Return a session as that host last told of it."""
        view = self._views.get(pod_uid)
        return view.session(session_id) if view else None

    def holders(self, session_id: str) -> list[HostView]:
        """Return the hosts that hold a session: one, unless it was moved a moment ago."""
        return [view for view in self._views.values() if session_id in view.sessions]

    def follow(self, addresses: Iterable[HostAddress]) -> None:
        """Follow exactly these hosts: what is new is connected to, what is not named is dropped with all it said."""
        wanted = {address.uid: address for address in addresses}
        for uid in self._views.keys() - wanted.keys():
            self.drop(uid)
        for address in wanted.values():
            self.add(address)

    def add(self, address: HostAddress) -> None:
        """Follow a host; one whose address changed is connected to anew."""
        known = self._views.get(address.uid)
        if known is not None and known.address == address:
            return
        self._cancel(address.uid)
        self._views[address.uid] = replace(known, address=address) if known else HostView(address)
        self._tasks[address.uid] = asyncio.create_task(self._follow(address), name=f"host {address.pod}")

    def drop(self, pod_uid: str) -> None:
        """Forget a host that is gone, and tell of the sessions that it held."""
        self._cancel(pod_uid)
        view = self._views.pop(pod_uid, None)
        if view is not None:
            self._tell(view, replace(view, connected=False, sessions={}))

    def learn(self, pod_uid: str, session: HostSession, before: HostSession | None) -> None:
        """Take note of what a host answered to a call; its stream will say the same a moment later.

        `before` is what was known of the session when the host was called: if that is not what is known now, the stream
        has said something meanwhile, and the answer may be older than that.
        """
        view, uid = self._views.get(pod_uid), str(session.session_id)
        if view is not None and view.heard and view.session(uid) == before:
            self._views[pod_uid] = view.with_session(session)

    def unlearn(self, pod_uid: str, session_id: str) -> None:
        """Take note that a host let go of a session; its stream will say the same a moment later."""
        view = self._views.get(pod_uid)
        if view is not None:
            self._views[pod_uid] = view.without(session_id)

    async def close(self) -> None:
        """Stop to follow."""
        tasks = list(self._tasks.values())
        for uid in list(self._tasks):
            self._cancel(uid)
        await asyncio.gather(*tasks, return_exceptions=True)
        self._views.clear()

    def _cancel(self, pod_uid: str) -> None:
        """Stop to follow one host."""
        if task := self._tasks.pop(pod_uid, None):
            task.cancel()

    async def _follow(self, address: HostAddress) -> None:
        """Follow one host for as long as it is there, connecting again whenever the stream ends."""
        wait = self.first_backoff
        while True:
            try:
                if await self._listen(address):
                    wait = self.first_backoff
            except HostError as error:
                logs.debug("host stream ended", host=address.pod, error=error.slug)
            except _UNREADABLE as error:
                logs.warning("host sends what cannot be read", host=address.pod, error=type(error).__name__)
            self._cut(address.uid)
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))
            wait = min(wait * 2, _LAST_BACKOFF)

    async def _listen(self, address: HostAddress) -> bool:
        """Take one stream to its end; return whether the host had anything to say."""
        said = False
        try:
            async with self.client.events(address, self.scope) as content:
                async for event in server_events(content.iter_any()):
                    self._take(address.uid, event)
                    said = True
        except HostError:
            if not said:
                raise
        return said

    def _take(self, pod_uid: str, event: ServerEvent) -> None:
        """Take note of one event; raises one of `_UNREADABLE` for what cannot be read."""
        before = self._views[pod_uid]
        after = _after(before, event)
        self._views[pod_uid] = after
        self._tell(before, after)

    def _cut(self, pod_uid: str) -> None:
        """The stream ended: what the host said still stands, but nobody vouches for it."""
        before = self._views[pod_uid]
        after = self._views[pod_uid] = replace(before, connected=False)
        self._tell(before, after)

    def _tell(self, before: HostView, after: HostView) -> None:
        """Tell of everything that changed."""
        metrics.host_streams.set(sum(view.connected for view in self._views.values()))
        for session in changed(before, after):
            self.on_session(after, session)
        if _public(before) != _public(after):
            self.on_host(after)


def _after(view: HostView, event: ServerEvent) -> HostView:
    """Return the view after an event; kinds that a newer host may send are let pass."""
    body = json.loads(event.data)
    if event.kind == HostEvent.SNAPSHOT:
        return view.replaced_by(HostSnapshot.model_validate(body))
    if event.kind == HostEvent.SESSION:
        return view.with_session(HostSession.model_validate(body))
    if event.kind == HostEvent.REMOVED:
        return view.without(str(body["sessionId"]))
    if event.kind == HostEvent.HOST:
        return replace(view, draining=bool(body.get("draining", view.draining)))
    return view


def _public(view: HostView) -> tuple[object, ...]:
    """Return what of a host itself others go by."""
    return view.connected, view.incarnation, view.capacity, view.draining
