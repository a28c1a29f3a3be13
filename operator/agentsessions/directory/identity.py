"""Who calls: a token that Kubernetes vouches for (TokenReview), or one that Envoy has checked (OIDC)."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from agentsessions.api.base import Json
from agentsessions.directory import metrics
from agentsessions.directory.cache import Cache
from agentsessions.directory.config import DirectoryConfig, Oidc
from agentsessions.kube.client import Kube
from agentsessions.kube.paths import TOKEN_REVIEWS

JWT_HEADER = "x-agentsessions-jwt-payload"
_BEARER_PROTOCOL = "base64url.bearer.authorization.agentsessions.dev."
_WRONG_SECONDS = 5.0
_RESERVED = "system:"


@dataclass(frozen=True, slots=True)
class User:
    """Who calls, in the words of Kubernetes."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass
class Identities:
    """Turns what a request shows into a user, or into None."""

    kube: Kube
    config: DirectoryConfig
    _known: Cache[User | None] = field(init=False)

    def __post_init__(self) -> None:
        """Keep answers for as long as a token that is taken back may still work."""
        most = self.config.review_cache_seconds
        self._known = Cache(lambda user: most if user else min(most, _WRONG_SECONDS))

    async def user(self, headers: Mapping[str, str]) -> User | None:
        """Return who calls, None for nobody that is known. Raises KubeError."""
        if self.config.oidc.enabled and (payload := headers.get(JWT_HEADER)):
            return from_claims(payload, self.config.oidc)
        token = bearer(headers)
        if not token:
            return None
        return await self._known.get(sha256(token.encode()).digest(), lambda: self._review(token))

    async def _review(self, token: str) -> User | None:
        """Ask the API server about a token."""
        metrics.reviews.labels("token").inc()
        spec: Json = {"token": token} | ({"audiences": self.config.audiences} if self.config.audiences else {})
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        status = (await self.kube.review(TOKEN_REVIEWS, body)).get("status", {})
        return _user(status.get("user", {})) if status.get("authenticated") else None


def bearer(headers: Mapping[str, str]) -> str:
    """Return the bearer's token, from where browsers can put it too: the WebSocket's list of protocols."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return token.strip()
    for offered in headers.get("sec-websocket-protocol", "").split(","):
        if offered.strip().startswith(_BEARER_PROTOCOL):
            return _decoded(offered.strip().removeprefix(_BEARER_PROTOCOL))
    return ""


def protocols(header: str) -> str:
    """Return the WebSocket protocols that a client offers, without its token."""
    offered = [one.strip() for one in header.split(",")]
    return ", ".join(one for one in offered if one and not one.startswith(_BEARER_PROTOCOL))


def from_claims(payload: str, rule: Oidc) -> User | None:
    """Return the user in the claims of a token that Envoy has checked."""
    try:
        claims: Any = json.loads(_decoded(payload))
        name, groups = claims[rule.username_claim], claims.get(rule.groups_claim) or []
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    if not isinstance(name, str) or not name:
        return None
    listed = groups if isinstance(groups, list) else [groups]
    theirs = (f"{rule.groups_prefix}{group}" for group in listed)
    # Also without prefixes: Kubernetes keeps `system:` for itself, and a provider must not make its masters.
    user, ours = f"{rule.username_prefix}{name}", [group for group in theirs if not group.startswith(_RESERVED)]
    return None if user.startswith(_RESERVED) else User(user, groups=("system:authenticated", *ours))


def _user(found: Json) -> User:
    extra = sorted((str(key), tuple(map(str, values))) for key, values in (found.get("extra") or {}).items())
    return User(
        str(found.get("username", "")), str(found.get("uid", "")), tuple(found.get("groups") or ()), tuple(extra)
    )


def _decoded(text: str) -> str:
    """Return base64url text, with or without padding; nothing for what is none."""
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, ValueError):
        return ""
