"""An earlier state of this project, out of its own history: what one upgrades from."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from images.catalog import IMAGES, REPOSITORY, Image

COMMIT = "121a1d2f9921465993d431e13c468dbcba97fdda"
"""The state before every operator had a Lease, and before there was anything of admission in the chart."""
OPERATOR = Image("older-operator", "operator/Dockerfile", IMAGES["operator"].sources)
AGENT = Image("older-agent", "agent-image/Dockerfile", IMAGES["agent"].sources)


@contextmanager
def checkout(*paths: str) -> Iterator[Path]:
    """Have files and folders of that state in a folder; skips where the history is not there."""
    with tempfile.TemporaryDirectory(prefix="older-") as folder:
        try:
            words = ["git", "-C", str(REPOSITORY), "archive", COMMIT, *paths]
            archive = subprocess.run(words, capture_output=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            pytest.skip(
                f"commit {COMMIT[:10]} of this repository's history is not here: the checkout is shallow, or no clone"
            )
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        yield Path(folder)


def sources(*images: Image) -> list[str]:
    """Return what of a checkout these images are built from."""
    return sorted({path for image in images for path in (image.dockerfile, *image.sources)})
