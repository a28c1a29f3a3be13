"""Which programs are built from Go modules, with which flags. Data and pure functions; `build.py` builds them."""

import hashlib
import platform
from dataclasses import dataclass
from pathlib import Path

from cluster import paths

KUBERNETES = "v1.37.2"
CALICO = "v3.28.5"
CALICO_MODULE = "github.com/projectcalico/calico"
_VERSION = "k8s.io/component-base/version"


@dataclass(frozen=True)
class Binary:
    """One program: its file name, its Go package and the seconds that a first build took on two cores."""

    name: str
    package: str
    seconds: int


@dataclass(frozen=True)
class Group:
    """The programs of one go.mod, built with the same flags and kept in one cache folder."""

    name: str
    binaries: tuple[Binary, ...]
    linker_flags: str = "-s -w"
    data: tuple[str, ...] = ()
    data_module: str = ""

    @property
    def source(self) -> Path:
        """The folder of its go.mod."""
        return paths.TOOLS / self.name

    def arguments(self, binary: Binary, output: Path) -> list[str]:
        """The whole `go build` command line of one of its programs."""
        flags = ["-mod=readonly", "-buildvcs=false", "-trimpath", f"-ldflags={self.linker_flags}"]
        return ["go", "build", *flags, "-o", str(output), binary.package]

    def key(self) -> str:
        """16 hex digits that change when the pins, the sources in its folder or the flags change."""
        digest = hashlib.sha256()
        for file in sorted(self.source.iterdir()):
            digest.update(f"{file.name}\n".encode() + file.read_bytes())
        for binary in self.binaries:
            digest.update("\0".join(self.arguments(binary, Path(binary.name))).encode())
        digest.update("\0".join((platform.machine(), *self.data)).encode())
        return digest.hexdigest()[:16]

    def folder(self) -> Path:
        """Where its programs are kept once built."""
        return paths.cache_dir() / "bin" / f"{self.name}-{self.key()}"


def _kubernetes(name: str, seconds: int) -> Binary:
    return Binary(name, f"k8s.io/kubernetes/cmd/{name}", seconds)


GROUPS = (
    Group("pause", (Binary("pause", ".", 20),)),
    Group(
        "kubernetes",
        (
            _kubernetes("kube-apiserver", 360),
            _kubernetes("kube-controller-manager", 180),
            _kubernetes("kube-scheduler", 30),
            _kubernetes("kubelet", 60),
            _kubernetes("kube-proxy", 20),
            _kubernetes("kubectl", 45),
        ),
        f"-s -w -X {_VERSION}.gitVersion={KUBERNETES} -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=37",
    ),
    Group("etcd", (Binary("etcd", "go.etcd.io/etcd/server/v3", 70),)),
    Group(
        "calico",
        (
            Binary("calico-felix", f"{CALICO_MODULE}/felix/cmd/calico-felix", 300),
            Binary("calico", f"{CALICO_MODULE}/cni-plugin/cmd/calico", 25),
        ),
        f"-s -w -X main.VERSION={CALICO} -X {CALICO_MODULE}/felix/buildinfo.GitVersion={CALICO}",
        data=("libcalico-go/config/crd", "manifests/calico.yaml"),
        data_module=CALICO_MODULE,
    ),
    Group("coredns", (Binary("coredns", "github.com/coredns/coredns", 150),)),
    Group("local-path", (Binary("local-path-provisioner", "github.com/rancher/local-path-provisioner", 60),)),
    Group("helm", (Binary("helm", "helm.sh/helm/v4/cmd/helm", 160),)),
    Group("kind", (Binary("kind", "sigs.k8s.io/kind", 40),)),
    Group("versitygw", (Binary("versitygw", "github.com/versity/versitygw/cmd/versitygw", 90),)),
)
TESTED = ("helm", "versitygw")
"""What tests use on any cluster, and without one."""
LOCAL = ("pause", "kubernetes", "etcd", "calico", "coredns", "local-path")


def group_named(name: str) -> Group:
    """The group of that name; KeyError when there is none."""
    return {group.name: group for group in GROUPS}[name]


def group_of(binary: str) -> Group:
    """The group that builds this program; KeyError when none does."""
    return {item.name: group for group in GROUPS for item in group.binaries}[binary]
