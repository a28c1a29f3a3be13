"""Tokens that hosts ask for: as the control plane signs them, and as somebody else would."""

import time
from dataclasses import dataclass
from typing import Any

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from e2e.api import Api, Json
from e2e.gateway import TIMEOUT, key_id
from e2e.operator_pod import parse_metrics
from e2e.stage import read_signing_key
from e2e.terminal import Terminal

HEADER = "X-Agentsessions-Token"
LIFE_SECONDS = 60


@dataclass(frozen=True)
class Signer:
    """The control plane's key, under the id by which a host knows it."""

    key: Ed25519PrivateKey
    key_id: str

    @classmethod
    def of(cls, api: Api, terminal: Terminal, host: Json) -> "Signer":
        """Return the key that a host pod trusts; reads it as an administrator may."""
        key = load_pem_private_key(read_signing_key(api), None)
        assert isinstance(key, Ed25519PrivateKey)
        return cls(key, key_id(terminal, host))

    def token(self, pod_uid: str, session_id: str, *, by: Ed25519PrivateKey | None = None, **claims: Any) -> str:
        """Return a token for one session on one pod; `claims` replace what belongs in it."""
        now = int(time.time())
        good: Json = {"iss": "agentsessions.dev", "aud": pod_uid, "sub": session_id, "scope": "session"}
        good |= {"iat": now, "exp": now + LIFE_SECONDS}
        return jwt.encode(good | claims, by or self.key, algorithm="EdDSA", headers={"kid": self.key_id})


async def ask(url: str, session_id: str, token: str) -> int:
    """Return how a host answers a call for a session's state."""
    async with (
        aiohttp.ClientSession(timeout=TIMEOUT) as http,
        http.get(f"{url}/sessions/{session_id}", headers={HEADER: token}) as answer,
    ):
        return answer.status


def refused(metrics: str) -> dict[str, float]:
    """Return how many calls a host has refused, by reason, from its page of metrics."""
    name = "agentsessions_host_refused_total"
    return {one.labels["reason"]: one.value for one in parse_metrics(metrics) if one.name == name}
