"""How to get in at a session's host: its address, and the token that opens the door there."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp

from agentsessions.api.host import PORT
from agentsessions.directory.cache import Cache
from agentsessions.directory.paths import Target
from agentsessions.directory.whereabouts import Place
from agentsessions.hosts.clocks import HostClocks
from agentsessions.hosts.tokens import Signer

_ASKED_EVERY = 15.0
"""Seconds after which a host is asked for its clock again: for so long one that was set refuses our tokens."""
_FAILED = 1.0
"""The same for one that did not answer: it may be about to listen."""
_TIMEOUT = aiohttp.ClientTimeout(total=1)


def address(place: Place) -> str:
    """Return host and port."""
    host = f"[{place.pod.ip}]" if ":" in place.pod.ip else place.pod.ip
    return f"{host}:{PORT}"


@dataclass
class Entry:
    """Gives out tokens. `ask`: has the clock of the host with that uid known, which is at host:port; never raises."""

    signer: Signer
    ask: Callable[[str, str], Awaitable[None]]

    async def token(self, target: Target, place: Place) -> str:
        """Return a token of a minute, by its host's clock, for this session in this pod."""
        await self.ask(place.pod.uid, address(place))
        implicit = bool(target.session_id)
        return self.signer.token(
            place.pod.uid,
            place.scope,
            place.session_id,
            port=target.port,
            namespace=target.namespace if implicit else None,
            name=place.name if implicit else None,
        )


@dataclass
class ClockReader:
    """Asks hosts for their clocks: Envoy, not we, hears how they answer to our tokens."""

    http: aiohttp.ClientSession
    clocks: HostClocks
    _asked: Cache[bool] = field(default_factory=lambda: Cache(lambda answered: _ASKED_EVERY if answered else _FAILED))

    async def ask(self, uid: str, base: str) -> None:
        """Have a host's clock known; where it does not answer, the request itself will tell."""
        await self._asked.get(uid, lambda: self._ask(uid, base))

    async def _ask(self, uid: str, base: str) -> bool:
        since = self.clocks.steady()
        try:
            async with self.http.get(f"http://{base}/health", timeout=_TIMEOUT, allow_redirects=False) as answer:
                self.clocks.learn(uid, answer.headers.get("Date"), since)
        except (TimeoutError, aiohttp.ClientError, OSError):
            return False
        return True
