"""Keys and certificates of the cluster, made by openssl, and the kubeconfigs that carry them."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from cluster.commands import run
from cluster.local.settings import API_SERVICE, Node, Settings

DAYS = "3650"


@dataclass(frozen=True)
class Certificate:
    """Who a certificate is for, and under which names it may serve."""

    name: str
    subject: str
    names: tuple[str, ...] = ()


def certificates(settings: Settings) -> list[Certificate]:
    """All certificates that the cluster needs."""
    api = ("DNS:kubernetes", "DNS:kubernetes.default", "DNS:kubernetes.default.svc", "DNS:localhost")
    addresses = ("IP:127.0.0.1", f"IP:{settings.api_address}", f"IP:{API_SERVICE}")
    return [
        Certificate("apiserver", "/CN=kube-apiserver", (*api, *addresses)),
        Certificate("admin", "/O=system:masters/CN=admin"),
        Certificate("kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client"),
        Certificate("controller-manager", "/CN=system:kube-controller-manager"),
        Certificate("scheduler", "/CN=system:kube-scheduler"),
        Certificate("proxy", "/CN=system:kube-proxy"),
        Certificate("calico", "/CN=calico-node"),
        *(_of_node(node) for node in settings.nodes),
    ]


def _of_node(node: Node) -> Certificate:
    subject = f"/O=system:nodes/CN=system:node:{node.name}"
    return Certificate(node.name, subject, (f"DNS:{node.name}", f"IP:{node.address}"))


def ensure(settings: Settings) -> None:
    """Make every key, certificate and kubeconfig that is not there yet."""
    settings.pki.mkdir(parents=True, exist_ok=True, mode=0o700)
    _ensure_authority(settings.pki)
    _ensure_key(settings.pki / "service-accounts.key")
    for certificate in certificates(settings):
        _ensure_certificate(settings.pki, certificate)
    for user in ("controller-manager", "scheduler", "proxy", "calico", *(node.name for node in settings.nodes)):
        _write_private(settings.kubeconfig_of(user), kubeconfig(settings, user))
    _write_private(settings.kubeconfig, kubeconfig(settings, "admin"))


def kubeconfig(settings: Settings, user: str) -> str:
    """A kubeconfig that needs no other file."""
    cluster = {"server": settings.server, "certificate-authority-data": _encoded(settings.pki / "ca.crt")}
    keys = {
        "client-certificate-data": _encoded(settings.pki / f"{user}.crt"),
        "client-key-data": _encoded(settings.pki / f"{user}.key"),
    }
    name = "agentsessions-local"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": user, "user": keys}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
        "current-context": name,
    }
    return json.dumps(document, indent=1) + "\n"


def _ensure_authority(folder: Path) -> None:
    if (folder / "ca.crt").exists():
        return
    _ensure_key(folder / "ca.key")
    partial = folder / "ca.crt.new"
    run(
        ["openssl", "req", "-x509", "-new", "-key", folder / "ca.key", "-subj", "/CN=agentsessions-local-ca",
         "-days", DAYS, "-addext", "basicConstraints=critical,CA:TRUE", "-out", partial]
    )  # fmt: skip
    partial.rename(folder / "ca.crt")


def _ensure_key(path: Path) -> None:
    if path.exists():
        return
    partial = path.with_suffix(".key.new")
    run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", partial])
    partial.chmod(0o600)
    partial.rename(path)


def _ensure_certificate(folder: Path, certificate: Certificate) -> None:
    target = folder / f"{certificate.name}.crt"
    if target.exists():
        return
    key = folder / f"{certificate.name}.key"
    _ensure_key(key)
    extensions = folder / f"{certificate.name}.ext"
    names = [f"subjectAltName={','.join(certificate.names)}"] if certificate.names else []
    extensions.write_text("\n".join(["extendedKeyUsage=serverAuth,clientAuth", *names]) + "\n")
    request = run(["openssl", "req", "-new", "-key", key, "-subj", certificate.subject])
    signed = run(
        ["openssl", "x509", "-req", "-CA", folder / "ca.crt", "-CAkey", folder / "ca.key", "-CAcreateserial",
         "-days", DAYS, "-extfile", extensions],
        stdin=request,
    )  # fmt: skip
    partial = folder / f"{certificate.name}.crt.new"
    partial.write_text(signed)
    partial.rename(target)


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
