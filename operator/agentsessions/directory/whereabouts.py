"""Where a session is: from the watches, live where they have nothing yet; None while it is not to be had.

No message is refused for a suspension, a bound or a Stalled session that the watches told of before that was read anew.
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID, uuid5

from agentsessions.api.bounds import Limit
from agentsessions.api.host import Scope
from agentsessions.directory.fresh import Fresh
from agentsessions.directory.identity import User
from agentsessions.directory.paths import Kind, Target
from agentsessions.directory.waking import Waker
from agentsessions.directory.world import PodView, PoolView, SessionView, World, pod_view, pool_view, session_view
from agentsessions.hosts.streams import HostStreams
from agentsessions.kube.client import Kube
from agentsessions.kube.paths import PODS, POOLS, SESSIONS
from agentsessions.policies.placement import rank
from agentsessions.policies.restart import is_paused


class NotThere(Exception):
    """There is nothing of that name."""


class Over(Exception):
    """The session is finished; it will not answer any more."""


class Suspended(Exception):
    """Somebody has suspended the session; it takes no messages until that is undone."""


class Spent(Exception):
    """The session has reached a bound; it takes no messages until that is raised."""

    def __init__(self, limit: Limit) -> None:
        super().__init__(limit)
        self.limit = limit


class Asleep(Exception):
    """The session sleeps, and what is asked of it is no reason to wake it."""


class Stuck(Exception):
    """The session cannot go on until somebody mends something; the text is the reason in a word.

    `seconds` is when it may be worth to ask again.
    """

    def __init__(self, reason: str, seconds: int = 30) -> None:
        super().__init__(reason)
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Place:
    """A session's pod, and what a token for it must say."""

    session_id: str
    pod: PodView
    scope: Scope
    name: str = ""


_MAY_HAVE_CHANGED = (Suspended, Spent, Stuck)
"""Refusals whose cause somebody can undo."""


class Standing(NamedTuple):
    """What a request waits for: reason and message of the session's condition Ready, or words like these."""

    reason: str
    message: str


_ON_ITS_WAY = Standing("Starting", "The session is on its way to a host.")
_POOL_FULL = Standing("PoolFull", "No host of the pool has room at the moment.")
_NO_READY_HOST = Standing("NoReadyHost", "No host of the pool is ready at the moment.")


@dataclass
class Whereabouts:
    """Finds sessions."""

    kube: Kube
    world: World
    streams: HostStreams
    waker: Waker
    fresh: Fresh = field(init=False)

    def __post_init__(self) -> None:
        """Read anew where the rest is read."""
        self.fresh = Fresh(self.kube)

    async def identify(self, target: Target) -> SessionView | PoolView:
        """Return what the request names; raises NotThere. Looks live for what the watches have not told of."""
        key = (target.namespace, target.name)
        named = target.kind is Kind.NAMED
        known: SessionView | PoolView | None = self.world.sessions.get(key) if named else self.world.pools.get(key)
        if known is None:
            raw = await self.kube.get(SESSIONS if named else POOLS, *key)
            known = None if raw is None else session_view(raw) if named else pool_view(raw)
        if known is None or (isinstance(known, PoolView) and not known.implicit):
            raise NotThere
        return known

    async def find(self, target: Target, user: User, since: str | None = None) -> Place | None:
        """Return where the session is now, or None while it is on its way; one that sleeps is woken.

        `since` is what `slept` said when the request began to wait: to a wake that was in vain from then on it gets the
        reason, and does not ask for another. Raises NotThere, Over, Suspended, Spent, Asleep, Stuck.
        """
        known = await self.identify(target)
        if isinstance(known, PoolView):
            return self._implicit(target, known, user)
        try:
            return await self._named(target, known, since)
        except _MAY_HAVE_CHANGED:
            fresh = await self.fresh.session((target.namespace, target.name))
            if fresh is None or fresh == known:
                raise
        return await self._named(target, fresh, since if fresh.uid == known.uid else None)

    def slept(self, target: Target) -> str | None:
        """Return when the session last fell asleep or gave up, in its status' words; None if it is not known."""
        session = self.world.sessions.get((target.namespace, target.name)) if target.kind is Kind.NAMED else None
        return session.suspended if session is not None else None

    async def session_id(self, target: Target, user: User) -> str:
        """Return the id of what the request names, wherever it is; raises NotThere."""
        known = await self.identify(target)
        return known.uid if isinstance(known, SessionView) else implicit_id(known.uid, user, target.session_id)

    def standing(self, target: Target) -> Standing:
        """Return how the session comes along, as far as the watches have told."""
        key = (target.namespace, target.name)
        if target.kind is Kind.NAMED:
            session = self.world.sessions.get(key)
            return Standing(session.reason, session.message) if session is not None and session.reason else _ON_ITS_WAY
        pool = self.world.pools.get(key)
        return _POOL_FULL if pool is not None and self.world.hosts(pool.uid) else _NO_READY_HOST

    async def _named(self, target: Target, session: SessionView, since: str | None) -> Place | None:
        if session.is_given_up and since is not None and session.suspended != since:
            raise Stuck(session.reason)
        if session.deleting or (target.port is not None and target.port not in session.ports):
            raise NotThere
        if session.finished:
            raise Over
        if session.is_suspended:
            raise Suspended
        if session.is_spent and target.wakes:
            raise Spent(Limit(session.reason))
        if session.is_asleep or session.is_spent or (session.is_given_up and target.wakes):
            if not target.wakes:
                raise Asleep
            self._require_time(session)
            await self.waker.wake((target.namespace, target.name), session)
            return None
        if session.stalled and not session.is_held:
            raise Stuck(session.reason)
        pod = await self._pod(target.namespace, session) if session.pod_uid and session.is_held else None
        if pod is None or not pod.ip or not pod.running:
            return None
        scope = Scope.PORTS if target.port is not None else Scope.SESSION
        return Place(session.uid, pod, scope, target.name)

    def _require_time(self, session: SessionView) -> None:
        """Raise Stuck as long as a session that was woken in vain too often is not to be tried again."""
        now = self.waker.clock()
        if session.is_given_up and session.retry is not None and is_paused(session.retry, now):
            raise Stuck(session.reason, max(30, math.ceil((session.retry - now).total_seconds())))

    async def _pod(self, namespace: str, session: SessionView) -> PodView | None:
        """Return the very pod that status names; one of the same name may be another's."""
        if (known := self.world.pods.get(session.pod_uid)) is not None:
            return known
        raw = await self.kube.get(PODS, namespace, session.pod)
        found = pod_view(raw) if raw is not None else None
        return found if found is not None and found.uid == session.pod_uid else None

    def _implicit(self, target: Target, pool: PoolView, user: User) -> Place | None:
        """Return the host that holds the id, else the one that the id is hashed to among those with room."""
        session_id = implicit_id(pool.uid, user, target.session_id)
        hosts = {pod.name: pod for pod in self.world.hosts(pool.uid)}
        # A host that drains still has its sessions: they are not to be made anew elsewhere.
        holding = [self.world.pods.get(view.address.uid) for view in self.streams.holders(session_id)]
        held = next((pod for pod in holding if pod is not None and pod.ip), None)
        if held is None:
            ordered = rank(session_id, (name for name, pod in hosts.items() if not self._is_full(pod)))
            held = hosts[ordered[0]] if ordered else None
        return Place(session_id, held, Scope.IMPLICIT, target.session_id) if held is not None else None

    def _is_full(self, pod: PodView) -> bool:
        view = self.streams.host(pod.uid)
        return view is not None and view.heard and len(view.sessions) >= view.capacity


def implicit_id(pool_uid: str, user: User, given: str) -> str:
    """Return the SDK's session id of an id without a resource: each user has a space of ids of their own."""
    return str(uuid5(UUID(pool_uid), f"{user.name}\n{given}"))
