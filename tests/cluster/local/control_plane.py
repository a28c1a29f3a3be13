"""etcd, API server, controller manager and scheduler: their command lines. They run in node0's network namespace."""

import json
from pathlib import Path

from cluster.local.settings import POD_RANGE, SERVICE_RANGE, Settings

ETCD_CLIENTS = "http://127.0.0.1:2379"
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "None", "verbs": ["get", "list", "watch"]}, {"level": "Metadata"}],
}


def commands(settings: Settings, programs: dict[str, Path]) -> dict[str, list[str]]:
    """The command line of each component by its name, in the order in which they start."""
    kubernetes = programs["kubernetes"]
    return {
        "etcd": _etcd(settings, programs["etcd"] / "etcd"),
        "kube-apiserver": _api_server(settings, kubernetes / "kube-apiserver"),
        "kube-controller-manager": _controller_manager(settings, kubernetes / "kube-controller-manager"),
        "kube-scheduler": _scheduler(settings, kubernetes / "kube-scheduler"),
    }


def write_files(settings: Settings) -> None:
    """Write what the components read beside the keys."""
    _audit_policy(settings).write_text(json.dumps(AUDIT_POLICY))


def _etcd(settings: Settings, program: Path) -> list[str]:
    return [
        str(program),
        f"--data-dir={settings.state / 'etcd'}",
        f"--listen-client-urls={ETCD_CLIENTS}",
        f"--advertise-client-urls={ETCD_CLIENTS}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        # Losing the last writes in a power cut does not matter to a cluster for tests; waiting for the disk does.
        "--unsafe-no-fsync",
    ]


def _api_server(settings: Settings, program: Path) -> list[str]:
    pki = settings.pki
    return [
        str(program),
        f"--etcd-servers={ETCD_CLIENTS}",
        "--secure-port=6443",
        "--bind-address=0.0.0.0",
        f"--advertise-address={settings.api_address}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki / 'service-accounts.key'}",
        f"--service-account-signing-key-file={pki / 'service-accounts.key'}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-client-certificate={pki / 'kubelet-client.crt'}",
        f"--kubelet-client-key={pki / 'kubelet-client.key'}",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        f"--audit-policy-file={_audit_policy(settings)}",
        f"--audit-log-path={settings.audit_log}",
        "--audit-log-maxsize=1000",
    ]


def _controller_manager(settings: Settings, program: Path) -> list[str]:
    pki = settings.pki
    return [
        str(program),
        f"--kubeconfig={settings.kubeconfig_of('controller-manager')}",
        f"--service-account-private-key-file={pki / 'service-accounts.key'}",
        f"--root-ca-file={pki / 'ca.crt'}",
        f"--cluster-signing-cert-file={pki / 'ca.crt'}",
        f"--cluster-signing-key-file={pki / 'ca.key'}",
        "--use-service-account-credentials",
        "--leader-elect=false",
        f"--cluster-cidr={POD_RANGE}",
        # The Node objects are made with their pod range: the routes between the namespaces are fixed.
        "--allocate-node-cidrs=false",
        f"--flex-volume-plugin-dir={settings.state / 'volume-plugins'}",
    ]


def _scheduler(settings: Settings, program: Path) -> list[str]:
    return [str(program), f"--kubeconfig={settings.kubeconfig_of('scheduler')}", "--leader-elect=false"]


def _audit_policy(settings: Settings) -> Path:
    return settings.state / "audit-policy.json"
