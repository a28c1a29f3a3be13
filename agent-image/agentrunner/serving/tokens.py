"""Checks the tokens of the control plane: signature, time, pod, scope. Holds public keys only."""

import json
from dataclasses import dataclass
from typing import Any

import jwt

from agentrunner.errors import InvalidInput
from agentrunner.serving.problems import Problem
from agentsessions.api.host import ALGORITHM, ISSUER, MAX_TOKEN_SECONDS, Scope

_LEEWAY_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Caller:
    """What the bearer of a token may do."""

    scope: Scope
    session_id: str | None = None
    port: int | None = None
    namespace: str = ""
    name: str = ""


class Verifier:
    """Turns a token into a Caller, or into the Problem that its bearer gets."""

    def __init__(self, public_keys: str, pod_uid: str) -> None:
        self._pod_uid = pod_uid
        try:
            keys = jwt.PyJWKSet.from_json(public_keys).keys
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
            raise InvalidInput("AGENTSESSIONS_PUBLIC_KEYS must be a JWKS with at least one Ed25519 key") from None
        self._keys = {key.key_id: key for key in keys if key.key_type == "OKP"}

    def caller(self, token: str) -> Caller:
        """Return who calls; raises Problem 401 for a token that proves nothing, 421 for one for another pod."""
        claims = self._claims(token)
        if claims["aud"] != self._pod_uid:
            raise Problem(421, "misdirected", "The token is for another pod: look the session up again.")
        try:
            scope = Scope(claims["scope"])
        except ValueError:
            raise _unproven("wrong-scope") from None
        port = claims.get("port")
        return Caller(
            scope=scope,
            session_id=claims.get("sub"),
            port=port if isinstance(port, int) else None,
            namespace=str(claims.get("ns", "")),
            name=str(claims.get("name", "")),
        )

    def _claims(self, token: str) -> dict[str, Any]:
        if not token:
            raise _unproven("no-token")
        try:
            key = self._keys[jwt.get_unverified_header(token)["kid"]]
            claims: dict[str, Any] = jwt.decode(
                token,
                key=key,
                # One algorithm, whatever the header says: `none` and HMAC with our public key are the classic ways in.
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "iss", "aud", "scope"], "verify_aud": False},
            )
        except jwt.ExpiredSignatureError:
            raise _unproven("expired-token") from None
        except (jwt.PyJWTError, KeyError, ValueError, TypeError):
            raise _unproven("bad-token") from None
        if claims["exp"] - claims["iat"] > MAX_TOKEN_SECONDS:
            raise _unproven("long-lived-token")
        return claims


def _unproven(slug: str) -> Problem:
    return Problem(401, slug, "A token of the control plane is needed.", {"WWW-Authenticate": "Bearer"})


def parse_keys(text: str) -> list[str]:
    """Return the ids of the keys in a JWKS, for the log."""
    return [str(key.get("kid")) for key in json.loads(text).get("keys", [])]
