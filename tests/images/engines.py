"""The programs that build images: Docker, and buildah for machines without a Docker engine."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cluster import packages
from cluster.errors import ClusterError
from images.catalog import DEFAULT_BASE
from images.commands import run, succeeds
from images.errors import ImageError, NoEngine

CHOICE = "AGENTSESSIONS_IMAGE_ENGINE"


@dataclass(frozen=True, slots=True)
class Build:
    """One build: a folder with all its files, the Dockerfile in it, the image's name, arguments and secrets."""

    context: Path
    dockerfile: str
    reference: str
    arguments: Mapping[str, str]
    secrets: Mapping[str, Path]


class Engine(Protocol):
    """What a builder must do."""

    name: str
    base: str | None
    """The base image to use; None means that one has to be made from Debian packages."""

    def build(self, build: Build, *, verbose: bool) -> None:
        """Build an image into the engine's own store."""

    def has(self, reference: str) -> bool:
        """Return whether the engine's own store holds an image."""

    def save(self, reference: str, archive: Path) -> None:
        """Write an image of the store to a docker archive, uncompressed."""


class Docker:
    """Docker with BuildKit."""

    name = "docker"
    base: str | None = DEFAULT_BASE

    def build(self, build: Build, *, verbose: bool) -> None:
        """Build an image into Docker's store."""
        command = ["docker", "build", "--progress=plain", "--tag", build.reference, *_common(build)]
        run([*command, build.context], verbose=verbose)

    def has(self, reference: str) -> bool:
        """Return whether Docker's store holds an image."""
        return succeeds(["docker", "image", "inspect", reference])

    def save(self, reference: str, archive: Path) -> None:
        """Write an image to a docker archive."""
        run(["docker", "save", "--output", archive, reference])


class Buildah:
    """buildah in a chroot: needs root, but no engine, no registry and no container runtime."""

    name = "buildah"
    base: str | None = None

    def build(self, build: Build, *, verbose: bool) -> None:
        """Build an image into buildah's store, with its layers kept for the next build."""
        command = ["buildah", "build", "--isolation", "chroot", "--layers", "--pull-never", "--format", "docker"]
        run([*command, "--tag", build.reference, *_common(build), build.context], verbose=verbose)

    def has(self, reference: str) -> bool:
        """Return whether buildah's store holds an image."""
        return succeeds(["buildah", "inspect", "--type", "image", reference])

    def save(self, reference: str, archive: Path) -> None:
        """Write an image to a docker archive; its layers stay uncompressed, which imports fastest."""
        run(["buildah", "push", "--quiet", reference, f"docker-archive:{archive}:{reference}"])


def _common(build: Build) -> list[str | Path]:
    words: list[str | Path] = ["--file", build.context / build.dockerfile]
    for name, value in build.arguments.items():
        words += ["--build-arg", f"{name}={value}"]
    for name, path in build.secrets.items():
        words += ["--secret", f"id={name},src={path}"]
    return words


def choose() -> Engine:
    """Return the engine that AGENTSESSIONS_IMAGE_ENGINE names, else the one that works here; raise NoEngine."""
    match os.environ.get(CHOICE, ""):
        case "docker":
            return Docker()
        case "buildah":
            return Buildah()
        case "":
            return _detect()
        case other:
            raise ImageError(f"{CHOICE} must be 'docker' or 'buildah', not '{other}'")


def _detect() -> Engine:
    if succeeds(["docker", "version", "--format", "{{.Server.Version}}"]):
        return Docker()
    if os.geteuid() != 0:
        raise NoEngine("no Docker engine answers, and building with buildah and debootstrap must be done as root")
    try:
        packages.ensure(("buildah", "debootstrap"))
    except ClusterError as error:
        raise NoEngine(f"no Docker engine answers; to build without one: {error}") from error
    return Buildah()
