"""The decision on one request: who, what, whether, where. The answer is what Envoy does."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from agentsessions import logs
from agentsessions.directory import metrics
from agentsessions.directory.access import Access
from agentsessions.directory.config import DirectoryConfig
from agentsessions.directory.entry import Entry, address
from agentsessions.directory.holding import Hall
from agentsessions.directory.identity import Identities, User, protocols
from agentsessions.directory.paths import CookbookPool, Target, cookbook_pool, parse
from agentsessions.directory.refusals import REFUSALS, Decision, nothing, refusal, refused
from agentsessions.directory.tickets import Ticket, Tickets
from agentsessions.directory.whereabouts import Place, Whereabouts
from agentsessions.kube.errors import KubeError

POOL_HEADER = "x-agentsessions-pool"
PROGRESS_HEADER = "x-agentsessions-progress"
STREAM = "stream"
"""Value of PROGRESS_HEADER by which a client asks to be told, while it waits, how its session comes along."""


@dataclass
class Decider:
    """Decides. Without `tickets` every request waits in silence."""

    config: DirectoryConfig
    identities: Identities
    access: Access
    whereabouts: Whereabouts
    entry: Entry
    tickets: Tickets = field(default_factory=lambda: Tickets(0))
    _hall: Hall = field(init=False)

    def __post_init__(self) -> None:
        """Open the hall in which requests wait."""
        self._hall = Hall(self.config, self.whereabouts)

    async def decide(self, method: str, url: str, headers: Mapping[str, str]) -> Decision:
        """Return the decision on a request; never raises."""
        began = time.monotonic()
        try:
            found = await self._decide(method, url, headers)
        except REFUSALS as error:
            found = refusal(error)
            if isinstance(error, KubeError):
                _note(error)
        metrics.decisions.labels(found.outcome).inc()
        metrics.seconds.observe(time.monotonic() - began)
        return found

    async def _decide(self, method: str, url: str, headers: Mapping[str, str]) -> Decision:
        target = parse(method, url, self._cookbook(headers))
        user = await self.identities.user(headers)
        if user is None:
            return refused(401, "unauthenticated", "A valid bearer token is needed.", {"WWW-Authenticate": "Bearer"})
        if not await self.access.allows(user, target):
            return nothing("forbidden")
        place = await self.whereabouts.find(target, user)
        if place is None and self._tells(target, headers):
            return await self._relayed(method, target, user)
        if place is None:
            with self._hall.seat(target) as seat:
                place = await self._hall.wait(target, user, seat)
        return await self._allowed(target, place, headers)

    def _cookbook(self, headers: Mapping[str, str]) -> CookbookPool | None:
        """Return the pool for a path without a namespace: as the client says, else by the name it calls us."""
        if named := headers.get(POOL_HEADER):
            return cookbook_pool(named)
        called = headers.get("host", "").partition(":")[0].lower()
        for host in self.config.cookbook.hosts:
            if host.host.lower() == called:
                return CookbookPool(host.namespace, host.pool)
        ours = self.config.cookbook
        return CookbookPool(ours.namespace, ours.pool) if ours.namespace and ours.pool else None

    def _tells(self, target: Target, headers: Mapping[str, str]) -> bool:
        """Return whether the client is told how its session comes along: a wish, while there is room for it."""
        wished = headers.get(PROGRESS_HEADER, "").strip().lower() == STREAM
        return wished and target.streams and self.config.hold_seconds > 0 and self.tickets.has_room

    async def _relayed(self, method: str, target: Target, user: User) -> Decision:
        """Send the request to the relay, which waits in its stead and says so. Raises Late."""
        session_id = await self.whereabouts.session_id(target, user)
        until = asyncio.get_running_loop().time() + self.config.hold_seconds
        word = self.tickets.issue(Ticket(target, user, method, self._hall.seat(target), until))
        out = {"x-agentsessions-token": word, "x-dst": self.tickets.address, "x-agentsessions-session": session_id}
        return Decision(200, out, outcome="relayed")

    async def _allowed(self, target: Target, place: Place, headers: Mapping[str, str]) -> Decision:
        """Return where Envoy is to send the request, and the token that opens the door there."""
        token = await self.entry.token(target, place)
        out = {
            "x-agentsessions-token": token,
            "x-dst": address(place),
            "x-agentsessions-session": place.session_id,
        }
        if target.prefix:
            out["x-agentsessions-prefix"] = target.prefix
        if offered := headers.get("sec-websocket-protocol"):
            out["sec-websocket-protocol"] = protocols(offered)
        return Decision(200, out)


def _note(error: KubeError) -> None:
    """Tell whoever runs the gateway why Kubernetes gives no answer; its own words may quote what a client sent."""
    why = error.message if not error.code else error.reason
    logs.warning("request refused: no answer from Kubernetes", code=error.code, reason=why)
