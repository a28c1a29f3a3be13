"""What components change for the whole machine (a few sysctls, the folder of `ip netns`), noted and put back."""

import json
from pathlib import Path

from cluster.commands import run
from cluster.local.network import NAMESPACES

SYSCTLS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
ROOT = Path("/proc/sys")


def note(file: Path) -> None:
    """Write down what is set now, unless that was done before."""
    if not file.exists():
        values = {name: (ROOT / name).read_text().strip() for name in SYSCTLS if (ROOT / name).exists()}
        file.write_text(json.dumps({"sysctls": values, "made_namespaces": not NAMESPACES.exists()}))


def restore(file: Path) -> None:
    """Put back what was noted; no-op when nothing was."""
    if not file.exists():
        return
    noted = json.loads(file.read_text())
    for name, value in noted["sysctls"].items():
        if (ROOT / name).read_text().strip() != value:
            (ROOT / name).write_text(value)
    if noted["made_namespaces"] and NAMESPACES.exists() and not any(NAMESPACES.iterdir()):
        while str(NAMESPACES) in mount_points():  # `ip netns` makes its folder a mount point
            run(["umount", NAMESPACES])
        NAMESPACES.rmdir()


def mount_points() -> list[str]:
    """Where something is mounted, as this process sees it."""
    return [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
