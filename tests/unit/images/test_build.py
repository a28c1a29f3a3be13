"""What goes into a build, and when an archive is made anew; the engine only takes note."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cluster import ClusterError
from images import build
from images.build import Builder
from images.catalog import Image
from images.engines import Build
from images.errors import ImageError


@dataclass
class Noting:
    """An engine that notes the files of each build: path to whether it can be executed."""

    name: str = "noting"
    base: str | None = "base:1"
    built: list[dict[str, bool]] = field(default_factory=list)

    def build(self, build: Build, *, verbose: bool) -> None:
        files = [path for path in build.context.rglob("*") if path.is_file()]
        self.built.append({str(path.relative_to(build.context)): os.access(path, os.X_OK) for path in files})

    def has(self, reference: str) -> bool:
        return True

    def save(self, reference: str, archive: Path) -> None:
        archive.write_bytes(b"image")


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A pinned program that is there already."""
    made = tmp_path / "versitygw"
    made.write_text("program")
    made.chmod(0o755)
    monkeypatch.setattr(build, "binary", lambda name: made)
    return made


@pytest.mark.parametrize("links", [True, False], ids=["linked", "copied"])
def test_a_pinned_program_lies_beside_the_files_and_can_be_run(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", _refuse)
    engine = Noting()
    Builder(engine, tmp_path).archive("stores")
    (files,) = engine.built
    assert files["versitygw"]
    assert files["tests/images/stores/serve-store"]


def test_an_archive_is_made_anew_when_the_pins_of_its_program_change(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Noting()
    builder = Builder(engine, tmp_path)
    first = builder.archive("stores")
    assert builder.archive("stores") == first
    assert len(engine.built) == 1
    monkeypatch.setattr("cluster.tools.Group.key", lambda self: "other")
    assert builder.archive("stores") != first
    assert len(engine.built) == 2


def test_a_program_that_cannot_be_built_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> Path:
        raise ClusterError("Go is missing")

    monkeypatch.setattr(build, "binary", fail)
    with pytest.raises(ImageError, match="versitygw could not be built: Go is missing"):
        Builder(Noting(), tmp_path).archive("stores")


def _refuse(target: Path, source: Path) -> None:
    raise OSError("another file system")


def test_an_image_of_another_checkout_is_built_from_its_files(tmp_path: Path) -> None:
    engine, root = Noting(), tmp_path / "before"
    (root / "operator").mkdir(parents=True)
    (root / "operator" / "Dockerfile").write_text("FROM scratch")
    image = Image("before", "operator/Dockerfile", ("operator",))
    first = Builder(engine, tmp_path, root=root).archive_of(image)
    assert engine.built == [{"operator/Dockerfile": False}]
    assert Builder(engine, tmp_path, root=root).archive_of(image) == first
    assert len(engine.built) == 1
