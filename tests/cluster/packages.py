"""Programs of the machine: which Debian package brings which, and installing them where that is possible."""

import os
import re
import shutil
from collections.abc import Iterable

from cluster import paths
from cluster.commands import environment, run
from cluster.errors import ClusterError
from cluster.locks import exclusive
from cluster.progress import ticking

PACKAGES = {
    "buildah": "buildah",
    "conntrack": "conntrack",
    "containerd": "containerd",
    "ctr": "containerd",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "ipset": "ipset",
    "iptables": "iptables",
    "modprobe": "kmod",
    "mount": "mount",
    "nft": "nftables",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "runc": "runc",
    "setsid": "util-linux",
    "sysctl": "procps",
    "unshare": "util-linux",
    "/bin/busybox": "busybox-static",
    "/usr/lib/cni/host-local": "containernetworking-plugins",
}
OLDEST_GO = (1, 21)


def which(program: str) -> str | None:
    """The path of a program, or None."""
    return shutil.which(program, path=environment()["PATH"])


def missing(programs: Iterable[str]) -> list[str]:
    """Those of these programs that are not installed, in order."""
    return [program for program in programs if which(program) is None]


def ensure(programs: Iterable[str]) -> None:
    """Install the Debian packages of missing programs; ClusterError that names all of them when that cannot be."""
    absent = missing(programs)
    if not absent:
        return
    names = sorted({PACKAGES[program] for program in absent})
    if not can_install():
        raise ClusterError(install_advice(absent, names))
    install(names)
    if still := missing(absent):
        raise ClusterError(f"{', '.join(still)}: still missing after apt-get install {' '.join(names)}")


def can_install() -> bool:
    """Whether apt-get may be used: root on a Debian-like system."""
    return os.geteuid() == 0 and which("apt-get") is not None


def install_advice(absent: list[str], names: list[str]) -> str:
    """What to tell somebody whose packages we cannot install."""
    return (
        f"these programs are missing: {', '.join(absent)}. On Debian or Ubuntu: "
        f"sudo apt-get install {' '.join(names)}; elsewhere install the packages that bring them"
    )


def install(names: list[str]) -> None:
    """Install Debian packages; one at a time does, since what apt-get finds locked it gives up. Raises ClusterError."""
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    lock = exclusive(paths.cache_dir() / "packages.lock", "an installation")
    with lock, ticking(f"apt-get install {' '.join(names)}"):
        run(["apt-get", "-qq", "update"], env=quiet, timeout=600)
        run(["apt-get", "-qq", "install", "--no-install-recommends", "-y", *names], env=quiet, timeout=1800)


def ensure_go() -> None:
    """Make sure of a Go that can fetch the toolchain which the pins ask for."""
    if which("go") is None and can_install() and _candidate_go() >= OLDEST_GO:
        install(["golang-go"])
    found = go_version(run(["go", "version"])) if which("go") else None
    if found is None or found < OLDEST_GO:
        raise ClusterError(go_advice(found))


def go_version(text: str) -> tuple[int, int]:
    """(major, minor) out of what `go version` or a package version says; (0, 0) when there is none."""
    match = re.search(r"(?:go|:|\s|^)(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def go_advice(found: tuple[int, int] | None) -> str:
    """What to do when Go is missing or too old."""
    has = "Go is missing" if found is None else f"Go {found[0]}.{found[1]} is too old"
    wanted = ".".join(map(str, OLDEST_GO))
    return f"{has}: install Go {wanted} or later from https://go.dev/dl/ (it fetches the version that the pins ask for)"


def _candidate_go() -> tuple[int, int]:
    match = re.search(r"Candidate: (\S+)", run(["apt-cache", "policy", "golang-go"]))
    return go_version(match[1]) if match else (0, 0)
