"""Debian packages of the servers: installed where that is possible, without starting the services in them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster import packages, paths
from cluster.errors import ClusterError
from cluster.locks import exclusive

_POLICY = Path("/usr/sbin/policy-rc.d")
_NO_SERVICES = "#!/bin/sh\n# No service is started by a package that is being installed.\nexit 101\n"


def ensure(program: str, package: str) -> Path:
    """Return the path of a program, installing its package if it is missing; ClusterError if that cannot be."""
    if found := _find(program):
        return found
    if not packages.can_install():
        raise ClusterError(packages.install_advice([program], [package]))
    with exclusive(paths.cache_dir() / "servers.lock", "an installation"):
        if not _find(program):
            with _services_stay_down():
                packages.install([package])
    found = _find(program)
    if found is None:
        raise ClusterError(f"{program}: still missing after apt-get install {package}")
    return found


def _find(program: str) -> Path | None:
    """Find a program on PATH or, for Postgres, in the folder of the newest version."""
    if found := packages.which(program):
        return Path(found)
    versions = Path("/usr/lib/postgresql").glob(f"*/bin/{program}")
    return max(versions, key=lambda path: int(path.parts[4].partition(".")[0]), default=None)


@contextmanager
def _services_stay_down() -> Iterator[None]:
    if _POLICY.exists():  # the machine's own policy holds
        yield
        return
    _POLICY.write_text(_NO_SERVICES)
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()
