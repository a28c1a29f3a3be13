"""Makes archives of images and keeps them by the hash of all that went into them."""

import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cluster import ClusterError, binary
from cluster.tools import group_of
from images import base as debian
from images.catalog import BASE, IMAGES, REPOSITORY, Image
from images.context import content_hash, source_files, stage
from images.engines import Build, Engine, choose
from images.errors import ImageError
from images.secrets import build_environment, write_secrets

BASE_VARIABLE = "AGENTSESSIONS_BASE_IMAGE"
_BASE_IMAGE = Image(BASE, "tests/images/base/Dockerfile", ("tests/images/base.py",))
_KEPT = 2
"""Archives of one image that stay in the cache."""


def cache_dir() -> Path:
    """Return where archives are kept: safe to delete, slow to make again."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root).absolute() / "agentsessions" / "images"


@dataclass(frozen=True, slots=True)
class Builder:
    """Builds with one engine into one folder; `root` is the checkout that is built from."""

    engine: Engine
    folder: Path
    verbose: bool = False
    root: Path = REPOSITORY

    def archive(self, name: str) -> Path:
        """Return the archive of an image, built if its inputs have changed."""
        return self._base_archive() if name == BASE else self.archive_of(IMAGES[name])

    def archive_of(self, image: Image) -> Path:
        """Return the archive of an image that need not be one of the catalog."""
        base = os.environ.get(BASE_VARIABLE) or self.engine.base
        facts = base if base is not None else self._base_path().stem
        target = self._archive_path(image, facts)
        if not target.exists():
            if base is None:
                self._base_archive()
            programs = {name: _program(name) for name in image.programs}
            self._build(image, target, {"BASE_IMAGE": base or _BASE_IMAGE.reference}, extra=programs)
        self._forget_old(image.name, target)
        return target

    def _base_archive(self) -> Path:
        """Return the archive of the Debian base; the image itself is in the engine's store afterwards."""
        target = self._base_path()
        rootfs = target.with_suffix(".rootfs")
        if not rootfs.exists():
            with _finished(rootfs) as scratch:
                self._say("base: a Debian system with Python, by debootstrap (a minute or two)")
                debian.make_rootfs(scratch, verbose=self.verbose)
        if not target.exists() or not self.engine.has(_BASE_IMAGE.reference):
            replace(self, root=REPOSITORY)._build(_BASE_IMAGE, target, {}, extra={"rootfs.tar": rootfs})
        return target

    def _base_path(self) -> Path:
        """Return where the base's archive is; it is made from this checkout, whatever is built on it."""
        return replace(self, root=REPOSITORY)._archive_path(_BASE_IMAGE, debian.mirror())

    def _archive_path(self, image: Image, facts: str) -> Path:
        files = source_files(self.root, (image.dockerfile, *image.sources))
        pins = [group_of(name).key() for name in image.programs]
        digest = content_hash(self.root, files, self.engine.name, image.reference, facts, *pins)
        return self.folder / f"{image.name}-{digest}.tar"

    def _build(
        self, image: Image, target: Path, arguments: dict[str, str], extra: dict[str, Path] | None = None
    ) -> None:
        began = time.monotonic()
        self._say(f"{image.name}: building with {self.engine.name}")
        with tempfile.TemporaryDirectory(prefix="agentsessions-image-") as folder:
            context, private = Path(folder) / "context", Path(folder) / "private"
            stage(self.root, source_files(self.root, (image.dockerfile, *image.sources)), context)
            for name, path in (extra or {}).items():
                _link_or_copy(path, context / name)
            private.mkdir(mode=0o700)
            secrets = write_secrets(private, build_environment())
            build = Build(context, image.dockerfile, image.reference, arguments, secrets)
            self.engine.build(build, verbose=self.verbose)
        with _finished(target) as scratch:
            self.engine.save(image.reference, scratch)
        size = target.stat().st_size / 1e6
        self._say(f"{image.name}: {size:.0f} MB after {time.monotonic() - began:.0f} s")

    def _forget_old(self, name: str, current: Path) -> None:
        archives = sorted(self.folder.glob(f"{name}-*.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
        for archive in [path for path in archives if path != current][_KEPT - 1 :]:
            archive.unlink(missing_ok=True)

    def _say(self, text: str) -> None:
        print(f"images: {text}", file=sys.stderr, flush=True)


def _program(name: str) -> Path:
    """Return a pinned program, built if it is not there yet; raises ImageError."""
    try:
        return binary(name)
    except ClusterError as error:
        raise ImageError(f"the program {name} could not be built: {error}") from error


def _link_or_copy(source: Path, target: Path) -> None:
    """Put a big file into a build's folder, without copying it where the file systems allow that."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copy(source, target)


@contextmanager
def _finished(target: Path) -> Iterator[Path]:
    """Give a scratch name; the file gets its real one only when all went well."""
    scratch = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        yield scratch
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process builds into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build_from(root: Path, image: Image) -> Path:
    """Return the archive of an image that is built from another checkout, for example one of before."""
    folder = cache_dir()
    with _alone(folder):
        return Builder(choose(), folder, root=root).archive_of(image)


def build_archives(names: Sequence[str], folder: Path | None = None, *, verbose: bool = False) -> list[Path]:
    """Return the archives of these images in order; what has not changed is not built again."""
    unknown = sorted(set(names) - {BASE, *IMAGES})
    if unknown:
        raise ImageError(f"there is no image '{unknown[0]}': choose among {', '.join([*IMAGES, BASE])}")
    folder = (folder or cache_dir()).absolute()
    with _alone(folder):
        builder = Builder(choose(), folder, verbose)
        return [builder.archive(name) for name in names]
