"""Whether this machine can carry the local cluster. All that is missing is named at once, with the way out."""

import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cluster import build, packages, tools
from cluster.commands import run
from cluster.errors import ClusterError
from cluster.local import cgroups, network, node
from cluster.local.archives import ARCHITECTURES
from cluster.local.settings import Settings

PROGRAMS = (
    "conntrack", "containerd", "ctr", "ip", "ipset", "iptables", "mount", "nft", "nsenter", "openssl", "runc", "setsid",
    "sysctl", "unshare", "/usr/lib/cni/host-local",
)  # fmt: skip
NEEDED_BYTES = 8e9
FILTERING = """
set -e
mount -t tmpfs agentsessions /run
nft add table ip agentsessions
ipset create agentsessions hash:net
iptables -A FORWARD -m set --match-set agentsessions src -m conntrack --ctstate NEW -m comment --comment x -j ACCEPT
"""


@dataclass(frozen=True)
class Check:
    """One thing that has to hold: its name, how to find out (ClusterError says no), what to do about it."""

    name: str
    test: Callable[[], object]
    advice: str


def require(settings: Settings) -> None:
    """Raise one ClusterError that names everything that is missing; install what can be installed first."""
    problems = _basics(settings) or failures(_checks(settings))
    if problems:
        raise ClusterError(report(problems))


def failures(checks: list[Check]) -> list[str]:
    """A line for every check that does not hold."""
    found = []
    for check in checks:
        try:
            check.test()
        except (ClusterError, OSError) as error:
            found.append(f"{check.name}: {' '.join(str(error).split())}. {check.advice}".removesuffix(". "))
    return found


def report(problems: list[str]) -> str:
    """The whole message."""
    lines = "\n".join(f"  - {problem}" for problem in problems)
    return f"this machine cannot run the local cluster yet; nothing was started. Missing:\n{lines}"


def _basics(settings: Settings) -> list[str]:
    problems = []
    if platform.system() != "Linux" or platform.machine() not in ARCHITECTURES:
        problems.append(f"Linux on x86_64 or aarch64 (this is {platform.system()} on {platform.machine()})")
    if hasattr(os, "geteuid") and os.geteuid() != 0:
        absent = packages.missing(PROGRAMS)
        problems.append("root: namespaces, mounts and cgroups need it. Run it with sudo, or use kind where Docker runs")
        if absent:
            problems.append(packages.install_advice(absent, sorted({packages.PACKAGES[name] for name in absent})))
    if any(str(settings.state).startswith(f"{folder}/") for folder in node.HIDDEN):
        problems.append(f"a state folder outside {', '.join(node.HIDDEN)} (it is {settings.state}): set XDG_STATE_HOME")
    return problems


def _checks(settings: Settings) -> list[Check]:
    return [
        Check("programs", lambda: packages.ensure(PROGRAMS), ""),
        *([] if build.built(tools.LOCAL) else [Check("Go", packages.ensure_go, "")]),
        Check("network and mount namespaces", _namespaces, "In a container: run it privileged"),
        Check("cgroups", _controllers, "Boot with these controllers, or run the container privileged"),
        Check("overlay file systems", lambda: _overlay(settings.state), "Use a kernel with overlayfs and a plain disk"),
        Check("packet filtering", _filtering, "The kernel needs nf_tables, ip_set, xt_set and nf_conntrack"),
        Check("disk", lambda: _room(settings.state), "Free some, or set XDG_STATE_HOME to a folder on another disk"),
        Check("addresses", lambda: network.check_free(settings), ""),
    ]


def _namespaces() -> None:
    run(["unshare", "--net", "--mount", "true"])


def _controllers() -> None:
    if absent := cgroups.missing_controllers():
        raise ClusterError(f"no {', '.join(absent)}")
    folder = cgroups.tracking() / f"agentsessions-preflight-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    folder.rmdir()


def _overlay(state: Path) -> None:
    """Mount one where containerd will: an overlay on top of an overlay is refused by the kernel."""
    folder = state / f"preflight-{os.getpid()}"
    for name in ("lower", "upper", "work", "merged"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
    try:
        run(["unshare", "--mount", "mount", "-t", "overlay", "agentsessions", "-o", options, folder / "merged"])
    finally:
        shutil.rmtree(folder)
        if not any(state.iterdir()):
            state.rmdir()


def _room(state: Path) -> None:
    """A kubelet evicts pods, and the build fails, when the disk is nearly full."""
    folder = next(path for path in (state, *state.parents) if path.exists())
    if (free := shutil.disk_usage(folder).free) < NEEDED_BYTES:
        raise ClusterError(f"{free / 1e9:.1f} GB free at {folder}, {NEEDED_BYTES / 1e9:.0f} GB needed")


def _filtering() -> None:
    run(["unshare", "--net", "--mount", "sh", "-c", FILTERING])
