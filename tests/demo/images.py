"""The images of the demo: built from this checkout, and brought to where the cluster's nodes find them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cluster
from cluster.existing import REGISTRY
from demo.console import Console
from demo.errors import DemoError
from images.build import build_archives
from images.catalog import DEPLOYED
from images.errors import ImageError

_OWN_PREFIX = "agentsessions.dev"


@dataclass(frozen=True, slots=True)
class Images:
    """The built images: where their archives are, and the prefix under which the cluster knows them."""

    archives: Mapping[str, Path]
    prefix: str = _OWN_PREFIX
    tag: str = "dev"

    def repository(self, name: str) -> str:
        """Return an image's name without its tag."""
        return f"{self.prefix}/{name}"

    def reference(self, name: str) -> str:
        """Return an image's full name."""
        return f"{self.repository(name)}:{self.tag}"

    def version(self, name: str) -> str:
        """Return a word that changes with the image's content; its name does not."""
        return self.archives[name].stem


def build() -> Images:
    """Build what has changed; raises DemoError."""
    try:
        archives = dict(zip(DEPLOYED, build_archives(DEPLOYED), strict=True))
    except ImageError as error:
        raise DemoError(str(error)) from None
    return Images(archives, os.environ.get(REGISTRY, "").rstrip("/") or _OWN_PREFIX)


def deliver(images: Images, provider: cluster.Provider, console: Console) -> None:
    """Bring the images to the nodes; into a cluster of somebody else's only its owner can."""
    if provider.name != "existing":
        provider.load_images(list(images.archives.values()))
        return
    console.say(f"The cluster must be able to pull these from {images.prefix}; if they are not there yet, push them:")
    for name, archive in images.archives.items():
        console.command(f"skopeo copy docker-archive:{archive} docker://{images.reference(name)}")


def check_registry(provider: cluster.Provider) -> None:
    """Refuse a cluster of somebody else's that has no registry to pull from; raises DemoError."""
    if provider.name == "existing" and not os.environ.get(REGISTRY):
        raise DemoError(
            f"images get into this cluster through a registry only: set {REGISTRY} to a prefix that it pulls from, "
            "for example registry.example.com/agentsessions"
        )
