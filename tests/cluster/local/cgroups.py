"""The cluster's control groups, version 1 or 2: made, listed and removed. They also tell which processes are ours."""

from pathlib import Path

MOUNTS = Path("/proc/self/mounts")
V1_NEEDED = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids")
V2_NEEDED = ("cpu", "cpuset", "memory", "pids")
_CPUSET = ("cpuset.cpus", "cpuset.mems")


def mounted(kind: str, mounts: str) -> dict[Path, set[str]]:
    """Mount point and options of every file system of this kind (`cgroup`, `cgroup2`) in a text like /proc/mounts."""
    rows = [line.split() for line in mounts.splitlines()]
    return {Path(row[1]): set(row[3].split(",")) for row in rows if row[2] == kind}


def version(mounts: str) -> int:
    """1 where the memory controller is a version 1 hierarchy, else 2."""
    return 1 if any("memory" in options for options in mounted("cgroup", mounts).values()) else 2


def hierarchies() -> list[Path]:
    """The mount points in which a group has to be made."""
    mounts = MOUNTS.read_text()
    return list(mounted("cgroup" if version(mounts) == 1 else "cgroup2", mounts))


def tracking() -> Path:
    """The one hierarchy in which every process that we start is put, so that it can be found again."""
    mounts = MOUNTS.read_text()
    if version(mounts) == 2:
        return next(iter(mounted("cgroup2", mounts)))
    return next(path for path, options in mounted("cgroup", mounts).items() if "pids" in options)


def missing_controllers() -> list[str]:
    """The controllers that a kubelet needs and this machine does not offer."""
    mounts = MOUNTS.read_text()
    if version(mounts) == 1:
        offered = set[str]().union(*mounted("cgroup", mounts).values())
        return [name for name in V1_NEEDED if name not in offered]
    roots = list(mounted("cgroup2", mounts))
    offered = set((roots[0] / "cgroup.controllers").read_text().split()) if roots else set()
    return [name for name in V2_NEEDED if name not in offered]


def create(name: str) -> None:
    """Make the group in every hierarchy and let it use every processor and memory node."""
    for root in hierarchies():
        (root / name).mkdir(exist_ok=True)
        if (root / name / "cpuset.cpus").exists() and (root / "cpuset.cpus").exists():
            for file in _CPUSET:
                (root / name / file).write_text((root / file).read_text())
    if version(MOUNTS.read_text()) == 2:
        _delegate(tracking(), name)


def _delegate(root: Path, name: str) -> None:
    """Version 2 hands controllers down one level at a time."""
    wanted = " ".join(f"+{controller}" for controller in V2_NEEDED)
    for folder in (root, root / name):
        (folder / "cgroup.subtree_control").write_text(wanted)


def create_tracking(name: str) -> Path:
    """Make the group that only finds processes; its cgroup.procs file."""
    folder = tracking() / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "cgroup.procs"


def pids(names: tuple[str, ...]) -> set[int]:
    """Every process in these groups and in the groups below them, in any hierarchy."""
    found: set[int] = set()
    for folder in _folders(names):
        try:
            found.update(int(pid) for pid in (folder / "cgroup.procs").read_text().split())
        except OSError:  # removed meanwhile, or a version 2 group that may not be read
            continue
    return found


def remove(names: tuple[str, ...]) -> list[Path]:
    """Remove these groups, deepest first; what could not be removed."""
    left = []
    for folder in sorted(_folders(names), key=lambda path: len(path.parts), reverse=True):
        try:
            folder.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            left.append(folder)
    return left


def _folders(names: tuple[str, ...]) -> list[Path]:
    mounts = MOUNTS.read_text()
    roots = [*mounted("cgroup", mounts), *mounted("cgroup2", mounts)]
    tops = [root / name for root in roots for name in names if (root / name).is_dir()]
    return [folder for top in tops for folder in (top, *(path for path in top.rglob("*") if path.is_dir()))]
