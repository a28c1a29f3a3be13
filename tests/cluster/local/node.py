"""What one node runs, and the files that it reads: containerd, kubelet, kube-proxy and Calico's Felix.

All of it lives in the node's own mount namespace, kept by a process that does nothing else: what they mount
vanishes with them, and what they write below /run, /var/log and /var/lib is seen by nobody else.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from cluster import paths
from cluster.local.settings import DNS_SERVICE, POD_RANGE, Node, Settings

SOCKET = "/run/containerd/containerd.sock"
PAUSE_IMAGE = "agentsessions.dev/cluster/pause:dev"
CAP_SYS_RESOURCE = 24
HIDDEN = ("/run", "/var/log", "/var/lib")
# First let go of what others have mounted in such folders: a copy here would keep it busy after they unmount it.
HOLD = """
set -e
for point in $(cut -d' ' -f2 /proc/self/mounts); do
  case "$point" in /run/*|/var/lib/*|/mnt/*|/media/*) ;; *) continue ;; esac
  for path in $KEEP; do case "$path" in "$point"/*) continue 2 ;; esac; done
  umount --lazy "$point" || true
done
mount --make-rshared /
mount -t tmpfs agentsessions /run
mount -t tmpfs agentsessions /var/log
mkdir -p /run/netns /run/lib/upper /run/lib/work
mount -t overlay agentsessions -o lowerdir=/var/lib,upperdir=/run/lib/upper,workdir=/run/lib/work /var/lib
mkdir -p /var/lib/kubelet
mount --bind "$KUBELET" /var/lib/kubelet
exec "$PAUSE"
"""


@dataclass(frozen=True)
class Process:
    """One process of a node: its record's name, its command line, what it adds to the environment."""

    name: str
    command: list[str]
    env: dict[str, str]


def holder(settings: Settings, node: Node, programs: dict[str, Path]) -> Process:
    """The process that keeps the node's mount namespace."""
    env = {
        "KEEP": f"{settings.state}/ {paths.cache_dir()}/",
        "KUBELET": str(node.folder / "kubelet"),
        "PAUSE": str(programs["pause"] / "pause"),
    }
    command = [f"--net=/run/netns/{node.namespace}", "--", "unshare", "--mount", "--propagation", "private"]
    return Process(node.holder, ["nsenter", *command, "sh", "-c", HOLD], env)


def inside(holder_pid: int) -> list[str]:
    """The words before a command that shall run in the node and keep its pid."""
    return ["nsenter", "--target", str(holder_pid), "--mount", "--net", "--"]


def runtime(node: Node) -> Process:
    """containerd."""
    return Process(f"{node.name}-containerd", ["containerd", "--config", str(node.folder / "containerd.toml")], {})


def agents(settings: Settings, node: Node, programs: dict[str, Path]) -> list[Process]:
    """kubelet, kube-proxy and Felix, in the order in which they start."""
    folder, kubernetes = node.folder, programs["kubernetes"]
    kubelet = [
        str(kubernetes / "kubelet"),
        f"--config={folder / 'kubelet.json'}",
        f"--kubeconfig={settings.kubeconfig_of(node.name)}",
        # Its sockets are below: a path of the state folder could be longer than the kernel takes for a socket.
        "--root-dir=/var/lib/kubelet",
        f"--hostname-override={node.name}",
        f"--node-ip={node.address}",
    ]
    proxy = [str(kubernetes / "kube-proxy"), f"--config={folder / 'kube-proxy.json'}"]
    felix = Process(f"{node.name}-felix", [str(programs["calico"] / "calico-felix")], felix_environment(settings, node))
    return [
        Process(f"{node.name}-kubelet", kubelet, {}),
        Process(f"{node.name}-kube-proxy", proxy, {}),
        felix,
    ]


def write_files(settings: Settings, node: Node, programs: dict[str, Path]) -> None:
    """Write every configuration file of the node."""
    folder = node.folder
    for name in ("containerd", "kubelet", "pod-logs", "cni", "ipam", "volumes", "volume-plugins"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "resolv.conf").touch()
    (folder / "containerd.toml").write_text(containerd_config(settings, node, has_capability(CAP_SYS_RESOURCE)))
    (folder / "kubelet.json").write_text(json.dumps(kubelet_config(settings, node), indent=1))
    (folder / "kube-proxy.json").write_text(json.dumps(proxy_config(settings, node), indent=1))
    (folder / "cni" / "10-calico.conflist").write_text(json.dumps(cni_config(settings, node), indent=1))
    _link_plugins(settings, programs)


def has_capability(number: int, status: str | None = None) -> bool:
    """Whether this process has the capability, by a text like /proc/self/status."""
    text = status if status is not None else Path("/proc/self/status").read_text()
    return bool(int(text.split("CapEff:")[1].split()[0], 16) >> number & 1)


def containerd_config(settings: Settings, node: Node, may_lower_oom_score: bool) -> str:
    """containerd's configuration. Without CAP_SYS_RESOURCE no sandbox may ask for a lower OOM score than ours."""
    return f"""version = 2
root = "{node.folder / "containerd"}"
state = "/run/containerd"
oom_score = 0
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = {str(not may_lower_oom_score).lower()}
  stream_server_address = "127.0.0.1"
  stats_collect_period = 5
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugin_folder(settings)}"
    conf_dir = "{node.folder / "cni"}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


def kubelet_config(settings: Settings, node: Node) -> dict[str, object]:
    """The kubelet's configuration."""
    pki, folder = settings.pki, node.folder
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "failSwapOn": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{node.namespace}",
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / f"{node.name}.crt"),
        "tlsPrivateKeyFile": str(pki / f"{node.name}.key"),
        "address": node.address,
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": "cluster.local",
        "resolvConf": str(folder / "resolv.conf"),
        "podLogsDir": str(folder / "pod-logs"),
        "volumePluginDir": str(folder / "volume-plugins"),
        "maxPods": 110,
        # Where a container is one cgroup v2, the kernel would kill all of it for one greedy tool.
        "singleProcessOOMKill": True,
        "serializeImagePulls": False,
        # Usage is looked at often, so that a pod over its storage limit is found in seconds.
        "volumeStatsAggPeriod": "10s",
        # Images come from archives and cannot be pulled again: never collect them.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1Gi", "imagefs.available": "1Gi"},
    }


def proxy_config(settings: Settings, node: Node) -> dict[str, object]:
    """kube-proxy's configuration; zeroes leave the machine's connection tracking as it is."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": node.name,
        "clientConnection": {"kubeconfig": str(settings.kubeconfig_of("proxy"))},
        "clusterCIDR": POD_RANGE,
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
    }


def cni_config(settings: Settings, node: Node) -> dict[str, object]:
    """The chain of CNI plugins: Calico with addresses out of the Node's own pod range."""
    calico = {
        "type": "calico",
        "log_level": "warning",
        "log_file_path": str(settings.logs / f"{node.name}-cni.log"),
        "datastore_type": "kubernetes",
        "nodename": node.name,
        "nodename_file_optional": True,
        "mtu": 1500,
        "ipam": {"type": "host-local", "subnet": "usePodCidr", "dataDir": str(node.folder / "ipam")},
        "policy": {"type": "k8s"},
        "kubernetes": {"kubeconfig": str(settings.kubeconfig_of("calico"))},
    }
    portmap = {"type": "portmap", "snat": True, "capabilities": {"portMappings": True}}
    return {"name": "k8s-pod-network", "cniVersion": "0.3.1", "plugins": [calico, portmap]}


def felix_environment(settings: Settings, node: Node) -> dict[str, str]:
    """Felix is configured by its environment."""
    return {
        "KUBECONFIG": str(settings.kubeconfig_of("calico")),
        "FELIX_DATASTORETYPE": "kubernetes",
        "FELIX_FELIXHOSTNAME": node.name,
        "FELIX_LOGFILEPATH": "none",
        "FELIX_LOGSEVERITYSCREEN": "warning",
        "FELIX_TYPHAK8SSERVICENAME": "none",
        "FELIX_USAGEREPORTINGENABLED": "false",
        "FELIX_XDPENABLED": "false",
        "FELIX_BPFENABLED": "false",
        "FELIX_IPV6SUPPORT": "false",
        "FELIX_IPTABLESBACKEND": "NFT",
        "FELIX_DEFAULTENDPOINTTOHOSTACTION": "ACCEPT",
        "FELIX_HEALTHENABLED": "true",
        "FELIX_HEALTHHOST": "127.0.0.1",
    }


def plugin_folder(settings: Settings) -> Path:
    """Where containerd finds the CNI plugins."""
    return settings.state / "cni-plugins"


def _link_plugins(settings: Settings, programs: dict[str, Path]) -> None:
    folder = plugin_folder(settings)
    folder.mkdir(exist_ok=True)
    debian = [Path("/usr/lib/cni") / name for name in ("host-local", "loopback", "portmap")]
    for program in (*debian, programs["calico"] / "calico"):
        fresh = folder / f".{program.name}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(program)
        os.replace(fresh, folder / program.name)
