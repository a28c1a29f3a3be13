"""The base image from Debian packages alone: debootstrap's smallest system with Python, without docs and lists."""

import os
import platform
import shutil
import tempfile
from pathlib import Path

from images.commands import run
from images.errors import ImageError

SUITE = "bookworm"
MIRROR_VARIABLE = "AGENTSESSIONS_DEBIAN_MIRROR"
DEFAULT_MIRROR = "http://deb.debian.org/debian"
PACKAGES = ("ca-certificates", "python3", "python3-venv")
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_USELESS = (
    "usr/share/doc",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
)
_SLIM = """path-exclude /usr/share/doc/*
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
"""


def mirror() -> str:
    """Return the Debian mirror to build from."""
    return os.environ.get(MIRROR_VARIABLE, DEFAULT_MIRROR)


def sources(url: str) -> str:
    """Return the system's package sources: the suite, and its security updates where they are found beside it."""
    security = url.rsplit("/", 1)[0] + "/debian-security"
    return f"deb {url} {SUITE} main\ndeb {security} {SUITE}-security main\n"


def make_rootfs(archive: Path, *, verbose: bool) -> None:
    """Write the system's files to `archive` (a tar); needs root, and a minute or two."""
    with tempfile.TemporaryDirectory(prefix="agentsessions-base-") as folder:
        root = Path(folder) / "root"
        run(_debootstrap(root), verbose=verbose)
        _tidy(root)
        run(
            [
                "tar",
                "--create",
                "--numeric-owner",
                "--sort=name",
                "--one-file-system",
                f"--file={archive}",
                f"-C{root}",
                ".",
            ]
        )


def _debootstrap(root: Path) -> list[str | Path]:
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise ImageError(f"the base image can be built on {' and '.join(_ARCHITECTURES)}, not on {machine}")
    words: list[str | Path] = ["debootstrap", "--variant=minbase", f"--arch={_ARCHITECTURES[machine]}"]
    if _KEYRING.is_file():
        words.append(f"--keyring={_KEYRING}")
    return [*words, f"--include={','.join(PACKAGES)}", SUITE, root, mirror()]


def _tidy(root: Path) -> None:
    """Remove what no container reads, keep apt from bringing it back, and leave no device files behind."""
    for name in _USELESS:
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir(parents=True)
    (root / "etc/dpkg/dpkg.cfg.d").mkdir(parents=True, exist_ok=True)
    (root / "etc/dpkg/dpkg.cfg.d/slim").write_text(_SLIM)
    (root / "etc/apt/sources.list").write_text(sources(mirror()))
    for device in (root / "dev").iterdir():
        shutil.rmtree(device) if device.is_dir() and not device.is_symlink() else device.unlink()
    # The machine's own names must not end up in an image.
    for name in ("etc/hostname", "etc/resolv.conf"):
        (root / name).unlink(missing_ok=True)
        (root / name).touch()
