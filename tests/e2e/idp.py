"""An identity provider in the cluster: it publishes a key, and the tests sign with it what a provider would."""

import json
import time
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from jwt.algorithms import RSAAlgorithm

from e2e import manifests
from e2e.api import Json
from e2e.lab import Lab

NAME, PORT = "idp", 8080
AUDIENCE = "agents"


def new_key() -> RSAPrivateKey:
    """Return a fresh RSA key."""
    return generate_private_key(65537, 2048)


@dataclass(frozen=True)
class Provider:
    """The provider of a namespace."""

    namespace: str
    key: RSAPrivateKey = field(default_factory=new_key)

    @property
    def issuer(self) -> str:
        """The `iss` of its tokens."""
        return f"https://{NAME}.{self.namespace}.example.com"

    def values(self) -> Json:
        """Return the chart's `gateway.oidc` for it."""
        uri = f"http://{NAME}.{self.namespace}.svc.cluster.local:{PORT}/jwks.json"
        return {"enabled": True, "issuer": self.issuer, "jwksUri": uri, "audiences": [AUDIENCE]}

    def start(self, lab: Lab) -> None:
        """Serve its public key in the cluster."""
        jwk = RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True) | {"kid": "first", "alg": "RS256", "use": "sig"}
        ports = [{"port": PORT, "targetPort": PORT}]
        spec = {"selector": {"app": NAME}, "ports": ports}
        meta = {"name": NAME, "namespace": self.namespace}
        lab.api.apply({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
        lab.neighbour(NAME)
        write = 'printf %s "$1" > /tmp/jwks.json'
        lab.execute(NAME, "sh", "-c", write, "sh", json.dumps({"keys": [jwk]}))

    def token(self, *, key: Any = None, algorithm: str = "RS256", **claims: Any) -> str:
        """Return a token for `claims`, which may replace what is usual: ten minutes, our issuer and audience."""
        now = int(time.time())
        usual = {"iss": self.issuer, "aud": AUDIENCE, "iat": now, "exp": now + 600}
        signer = self.key if key is None else key
        return jwt.encode(usual | claims, signer, algorithm=algorithm, headers={"kid": "first"})


def binding(namespace: str, name: str, kind: str, who: str) -> Json:
    """Return a RoleBinding that makes a user or a group of the provider's an editor."""
    subject = {"kind": kind, "name": who, "apiGroup": "rbac.authorization.k8s.io"}
    return manifests.editor(namespace, name) | {"subjects": [subject]}
