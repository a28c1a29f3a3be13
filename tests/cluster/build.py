"""Building the pinned programs once and keeping them: one folder per group and key, written whole or not at all."""

import json
import os
import shutil
import tempfile
from pathlib import Path

from cluster import paths, tools
from cluster.commands import run
from cluster.errors import ClusterError
from cluster.locks import exclusive
from cluster.packages import ensure_go
from cluster.progress import say, ticking
from cluster.tools import Group

HOUR = 3600.0
GO_ENVIRONMENT = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}


def binary(name: str) -> Path:
    """The path of a pinned program, built first when it is not there yet."""
    try:
        group = tools.group_of(name)
    except KeyError:
        known = ", ".join(item.name for group in tools.GROUPS for item in group.binaries)
        raise ClusterError(f"{name}: not one of the pinned programs ({known})") from None
    return ensure((group.name,))[group.name] / name


def ensure(names: tuple[str, ...]) -> dict[str, Path]:
    """Build what is missing of these groups, in this order; the folder of each. Others may build meanwhile."""
    groups = [tools.group_named(name) for name in names]
    if missing := [group for group in groups if not group.folder().is_dir()]:
        _announce(missing)
    number, total = 0, sum(len(group.binaries) for group in missing)
    for group in missing:
        with exclusive(paths.cache_dir() / "build.lock", "a build"):
            if not group.folder().is_dir():
                ensure_go()
                _remove_unfinished()
                _build_group(group, number, total)
        number += len(group.binaries)
    return {group.name: group.folder() for group in groups}


def built(names: tuple[str, ...]) -> bool:
    """Whether nothing of these groups needs building."""
    return all(tools.group_named(name).folder().is_dir() for name in names)


def _announce(groups: list[Group]) -> None:
    minutes = sum(item.seconds for group in groups for item in group.binaries) / 60
    say(f"building {', '.join(group.name for group in groups)} from Go modules: about {max(minutes, 1):.0f} min")
    say(f"  on two cores the first time (downloads come on top); kept for later runs in {paths.cache_dir() / 'bin'}")


def _remove_unfinished() -> None:
    """What a build left that was killed. We hold the lock: nobody works there now."""
    for folder in (paths.cache_dir() / "bin").glob(".*-*"):
        shutil.rmtree(folder)


def _build_group(group: Group, number: int, total: int) -> None:
    group.folder().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=group.folder().parent, prefix=f".{group.name}-") as name:
        folder = Path(name) / "done"
        folder.mkdir()
        for position, item in enumerate(group.binaries, number + 1):
            with ticking(f"[{position}/{total}] {item.name} (first time about {item.seconds} s)"):
                run(group.arguments(item, folder / item.name), cwd=group.source, env=GO_ENVIRONMENT, timeout=2 * HOUR)
        _copy_data(group, folder)
        os.rename(folder, group.folder())


def _copy_data(group: Group, folder: Path) -> None:
    """Keep the module's own manifests beside its programs: the module cache may be emptied any time."""
    if not group.data:
        return
    question = ["go", "list", "-mod=readonly", "-m", "-json", group.data_module]
    module = Path(json.loads(run(question, cwd=group.source, env=GO_ENVIRONMENT))["Dir"])
    for name in group.data:
        target = folder / "data" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (module / name).is_dir():
            shutil.copytree(module / name, target, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(module / name, target)
