"""The Ed25519 key by which hosts know the control plane: made once, kept in a Secret, public halves handed to hosts.

Rotation: put the present key into `previous.pem` and a new one into `key.pem`. Hosts then trust both (they learn so
when they are rolled out), and the control plane signs with the new one.
"""

import base64
import json
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from agentsessions import logs
from agentsessions.api.base import Json
from agentsessions.api.config import SigningKey
from agentsessions.api.host import ALGORITHM
from agentsessions.api.names import common_labels
from agentsessions.kube.client import Kube
from agentsessions.kube.errors import AlreadyExists, NotFound
from agentsessions.kube.paths import SECRETS

KEY_FILE = "key.pem"
PREVIOUS_FILE = "previous.pem"
_KEY_ID_LENGTH = 16


class BadKey(Exception):
    """The signing key cannot be used; the text says why, never what it is."""


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The key to sign with, its id, and the public keys that hosts are to trust, as a JWKS in JSON."""

    signing: Ed25519PrivateKey = field(repr=False)
    key_id: str
    public_keys: str


def key_ring(pem: bytes, previous: bytes | None = None) -> KeyRing:
    """Return the keys of one or two PEM files; raises BadKey."""
    signing = _private(pem, KEY_FILE)
    public = [_jwk(signing.public_key())]
    if previous:
        public.append(_jwk(_private(previous, PREVIOUS_FILE).public_key()))
    return KeyRing(signing, public[0]["kid"], json.dumps({"keys": public}, sort_keys=True))


def load_keys(directory: Path) -> KeyRing:
    """Return the keys that are mounted into a directory; raises BadKey."""
    try:
        previous = directory / PREVIOUS_FILE
        return key_ring((directory / KEY_FILE).read_bytes(), previous.read_bytes() if previous.exists() else None)
    except OSError as error:
        raise BadKey(f"{directory / KEY_FILE}: {error.strerror}") from error


def new_key() -> bytes:
    """Return a new private key as PEM."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


async def ensure_keys(kube: Kube, where: SigningKey) -> KeyRing:
    """Return the keys of the Secret; makes it if it is missing. Raises KubeError, or BadKey for a Secret of no use."""
    secret = await kube.get(SECRETS, where.namespace, where.name) or await _make(kube, where)
    data = {name: base64.b64decode(text) for name, text in secret.get("data", {}).items()}
    if KEY_FILE not in data:
        raise BadKey(f"Secret '{where.namespace}/{where.name}' has no key '{KEY_FILE}'")
    return key_ring(data[KEY_FILE], data.get(PREVIOUS_FILE))


async def _make(kube: Kube, where: SigningKey) -> Json:
    """Create the Secret; when another was first, theirs counts."""
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": where.name, "namespace": where.namespace, "labels": common_labels("signing-key")},
        "type": "agentsessions.dev/signing-key",
        "data": {KEY_FILE: base64.b64encode(new_key()).decode()},
    }
    try:
        made = await kube.create(SECRETS, manifest)
    except AlreadyExists:
        present = await kube.get(SECRETS, where.namespace, where.name)
        if present is None:
            raise NotFound(404, f"Secret '{where.name}' was removed while it was made", "NotFound") from None
        return present
    logs.info("signing key made", namespace=where.namespace, secret=where.name)
    return made


def _private(pem: bytes, name: str) -> Ed25519PrivateKey:
    """Return a private key; the library's errors are not passed on, since they may quote what they read."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        raise BadKey(f"'{name}' is not an unencrypted private key in PEM") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadKey(f"'{name}' is not an Ed25519 key")
    return key


def _jwk(key: Ed25519PublicKey) -> dict[str, str]:
    """Return a public key as a JWK, named by its RFC 7638 thumbprint."""
    members = {"crv": "Ed25519", "kty": "OKP", "x": _encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw))}
    thumbprint = _encode(sha256(json.dumps(members, sort_keys=True, separators=(",", ":")).encode()).digest())
    return members | {"alg": ALGORITHM, "use": "sig", "kid": thumbprint[:_KEY_ID_LENGTH]}


def _encode(raw: bytes) -> str:
    """Return base64url without padding, as JOSE has it."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
