"""Signs the tokens with which the control plane calls hosts: each for one pod, one scope, one minute by its clock."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import jwt

from agentsessions.api.host import ALGORITHM, ISSUER, Scope
from agentsessions.hosts.clocks import HostClocks
from agentsessions.hosts.keys import KeyRing

LIFE_SECONDS = 60
_FRESH_SECONDS = 20
"""A token with less left than this is not given out again: it may have to wait on its way."""
_BACKDATED_SECONDS = 5
"""How far a host's clock may be behind what we know of it before our token comes from its future."""
_REMEMBERED = 10_000


@dataclass
class Signer:
    """Signs tokens and gives out the same one again while it is fresh: signing costs more than the lookup."""

    keys: KeyRing
    clocks: HostClocks = field(default_factory=HostClocks)
    _cache: OrderedDict[tuple[Any, ...], tuple[int, str]] = field(default_factory=OrderedDict, repr=False)

    def token(
        self,
        pod_uid: str,
        scope: Scope,
        session_id: str | None = None,
        *,
        port: int | None = None,
        namespace: str | None = None,
        name: str | None = None,
    ) -> str:
        """Return a token for the host with that pod uid; `port` goes with PORTS, namespace and name with IMPLICIT."""
        claims = {"sub": session_id, "port": port, "ns": namespace, "name": name}
        key = (pod_uid, scope, *claims.values())
        now = int(self.clocks.now(pod_uid))
        expires, token = self._cache.get(key, (0, ""))
        # One with more left than any should have is of a time before the clock was set back: the host refuses it.
        if not _FRESH_SECONDS <= expires - now <= LIFE_SECONDS:
            expires, token = self._sign(pod_uid, scope, claims, now)
            self._remember(key, expires, token)
        return token

    def _sign(self, pod_uid: str, scope: Scope, claims: dict[str, Any], now: int) -> tuple[int, str]:
        """Return a new token and when it expires."""
        expires = now + LIFE_SECONDS
        fixed = {"iss": ISSUER, "aud": pod_uid, "scope": str(scope), "iat": now - _BACKDATED_SECONDS, "exp": expires}
        payload = fixed | {claim: value for claim, value in claims.items() if value is not None}
        headers = {"kid": self.keys.key_id}
        return expires, jwt.encode(payload, self.keys.signing, algorithm=ALGORITHM, headers=headers)

    def _remember(self, key: tuple[Any, ...], expires: int, token: str) -> None:
        """Keep a token, and not too many."""
        self._cache[key] = (expires, token)
        self._cache.move_to_end(key)
        while len(self._cache) > _REMEMBERED:
            self._cache.popitem(last=False)
