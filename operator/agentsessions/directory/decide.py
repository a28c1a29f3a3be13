"""The decision on one request: who, what, whether, where. The answer is what Envoy does."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from agentsessions.api.base import Json
from agentsessions.api.host import PORT, problem
from agentsessions.directory import metrics
from agentsessions.directory.access import Access
from agentsessions.directory.config import DirectoryConfig
from agentsessions.directory.identity import Identities, User, protocols
from agentsessions.directory.paths import NOT_FOUND, CookbookPool, PathProblem, Target, parse
from agentsessions.directory.whereabouts import NotThere, Over, Place, Stuck, Whereabouts
from agentsessions.hosts.tokens import Signer
from agentsessions.kube.errors import KubeError

POOL_HEADER = "x-agentsessions-pool"


@dataclass(frozen=True, slots=True)
class Decision:
    """What Envoy is told: 200 with headers for the host, or the answer that the client gets."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: Json | None = None
    outcome: str = "allowed"


@dataclass
class Decider:
    """Decides."""

    config: DirectoryConfig
    identities: Identities
    access: Access
    whereabouts: Whereabouts
    signer: Signer
    _waiting: Counter[str] = field(default_factory=Counter)

    async def decide(self, method: str, url: str, headers: Mapping[str, str]) -> Decision:
        """Return the decision on a request; never raises."""
        began = time.monotonic()
        try:
            found = await self._decide(method, url, headers)
        except PathProblem as error:
            found = _refused(error.status, error.slug, error.detail)
        except KubeError:
            found = _later("control-plane-unavailable", "Kubernetes does not answer at the moment.")
        metrics.decisions.labels(found.outcome).inc()
        metrics.seconds.observe(time.monotonic() - began)
        return found

    async def _decide(self, method: str, url: str, headers: Mapping[str, str]) -> Decision:
        target = parse(method, url, self._cookbook(headers))
        user = await self.identities.user(headers)
        if user is None:
            return _refused(401, "unauthenticated", "A valid bearer token is needed.", {"WWW-Authenticate": "Bearer"})
        if not await self.access.allows(user, target):
            return _nothing("forbidden")
        try:
            place = await self._reach(target, user)
        except NotThere:
            return _nothing("not-found")
        except Over:
            return _refused(410, "session-finished", "The session is over; its result is in its status.")
        except Stuck as stuck:
            return _later("session-stalled", f"The session cannot go on ({stuck}): see its status.", seconds=30)
        if place is None:
            return _later("session-not-ready", "The session is on its way to a host.")
        return self._allowed(target, place, headers)

    def _cookbook(self, headers: Mapping[str, str]) -> CookbookPool | None:
        """Return the pool for a path without a namespace: as the client says, else by the name it calls us."""
        namespace, _, pool = headers.get(POOL_HEADER, "").partition("/")
        if namespace and pool:
            return CookbookPool(namespace, pool)
        called = headers.get("host", "").partition(":")[0].lower()
        for host in self.config.cookbook.hosts:
            if host.host.lower() == called:
                return CookbookPool(host.namespace, host.pool)
        ours = self.config.cookbook
        return CookbookPool(ours.namespace, ours.pool) if ours.namespace and ours.pool else None

    async def _reach(self, target: Target, user: User) -> Place | None:
        """Return where the session is, waiting a while for one that is on its way."""
        place = await self.whereabouts.find(target, user)
        key = f"{target.namespace}/{target.name}/{target.session_id}"
        full = self._waiting.total() >= self.config.max_held
        if place is not None or full or self._waiting[key] >= self.config.max_held_per_session:
            return place
        self._waiting[key] += 1
        metrics.held.inc()
        try:
            return await self._wait(target, user)
        finally:
            metrics.held.dec()
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]

    async def _wait(self, target: Target, user: User) -> Place | None:
        """Look again at every change, until the session is there or the time is over."""
        until = asyncio.get_running_loop().time() + self.config.hold_seconds
        while (left := until - asyncio.get_running_loop().time()) > 0:
            await self.whereabouts.world.change(left)
            if (place := await self.whereabouts.find(target, user)) is not None:
                return place
        return None

    def _allowed(self, target: Target, place: Place, headers: Mapping[str, str]) -> Decision:
        """Return where Envoy is to send the request, and the token that opens the door there."""
        implicit = bool(target.session_id)
        token = self.signer.token(
            place.pod.uid,
            place.scope,
            place.session_id,
            port=target.port,
            namespace=target.namespace if implicit else None,
            name=place.name if implicit else None,
        )
        host = f"[{place.pod.ip}]" if ":" in place.pod.ip else place.pod.ip
        out = {"x-agentsessions-token": token, "x-dst": f"{host}:{PORT}", "x-agentsessions-session": place.session_id}
        if target.prefix:
            out["x-agentsessions-prefix"] = target.prefix
        if offered := headers.get("sec-websocket-protocol"):
            out["sec-websocket-protocol"] = protocols(offered)
        return Decision(200, out)


def _nothing(outcome: str) -> Decision:
    """Return the one answer to what is not there and to what is not yours."""
    return Decision(404, {}, problem("not-found", "Not found", 404, NOT_FOUND), outcome)


def _refused(status: int, slug: str, detail: str, headers: dict[str, str] | None = None) -> Decision:
    return Decision(status, headers or {}, problem(slug, slug.replace("-", " ").capitalize(), status, detail), slug)


def _later(slug: str, detail: str, seconds: int = 1) -> Decision:
    return _refused(503, slug, detail, {"Retry-After": str(seconds)})
