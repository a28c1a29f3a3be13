"""Tickets: by one, the relay takes up a request that was let in and whose session has no host yet.

A ticket cannot be guessed, is good for one request and for a few seconds, and stands for what was decided: who asks,
for what. It stays in this process.
"""

import asyncio
import secrets
from dataclasses import dataclass, field

from agentsessions.directory import metrics
from agentsessions.directory.holding import Seat
from agentsessions.directory.identity import User
from agentsessions.directory.paths import Target

LIFE_SECONDS = 10.0
"""Envoy comes with it at once; it tries again for about as long where a connection failed."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A request that was let in. `until` is when its wait is over, by the event loop's clock."""

    target: Target
    user: User
    method: str
    seat: Seat
    until: float


@dataclass
class Tickets:
    """Issues tickets for the relay at `address`, as long as fewer than `most` of its streams are open."""

    most: int
    address: str = ""
    life: float = LIFE_SECONDS
    _open: int = 0
    _issued: dict[str, tuple[Ticket, asyncio.TimerHandle]] = field(default_factory=dict, repr=False)

    @property
    def has_room(self) -> bool:
        """Whether there is a relay, and room for one stream more."""
        return bool(self.address) and self._open < self.most

    def issue(self, ticket: Ticket) -> str:
        """Return the word by which the relay gives the ticket out again."""
        word = secrets.token_urlsafe(32)
        timer = asyncio.get_running_loop().call_later(self.life, self._expire, word)
        self._issued[word] = (ticket, timer)
        self._open += 1
        metrics.relays.inc()
        return word

    def take(self, word: str, method: str) -> Ticket | None:
        """Return a ticket for the first who asks, if it is for this method; `close` it at the end of the stream."""
        ticket, timer = self._issued.get(word, (None, None))
        if ticket is None or timer is None or ticket.method != method:
            return None
        del self._issued[word]
        timer.cancel()
        return ticket

    def close(self, ticket: Ticket) -> None:
        """The stream of a ticket has ended."""
        ticket.seat.leave()
        self._open -= 1
        metrics.relays.dec()

    def _expire(self, word: str) -> None:
        """Forget a ticket that nobody came with."""
        ticket, _ = self._issued.pop(word)
        self.close(ticket)
