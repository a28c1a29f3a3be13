"""Which files a build gets, and when it has to be done again."""

import os
from pathlib import Path

import pytest

from images.catalog import DEPLOYED, IMAGES, REPOSITORY, Image
from images.context import content_hash, source_files, stage


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a small source tree."""
    for name in ("code/a.py", "code/__pycache__/a.pyc", "code/deep/b.py", "Dockerfile", "other.txt"):
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "source"


def _hash(root: Path, *facts: str) -> str:
    return content_hash(root, source_files(root, ("code", "Dockerfile")), *facts)


def test_sources_are_files_without_caches(tree: Path) -> None:
    files = [str(path) for path in source_files(tree, ("code", "Dockerfile"))]
    assert files == ["Dockerfile", "code/a.py", "code/deep/b.py"]


def test_a_source_that_is_missing_is_an_error(tree: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        source_files(tree, ("absent",))


@pytest.mark.parametrize("change", ["content", "name", "mode", "fact"])
def test_the_hash_changes_with_everything_that_goes_into_the_image(tree: Path, change: str) -> None:
    before = _hash(tree, "base")
    match change:
        case "content":
            (tree / "code/a.py").write_text("changed")
        case "name":
            (tree / "code/a.py").rename(tree / "code/c.py")
        case "mode":
            (tree / "code/a.py").chmod(0o755)
        case "fact":
            assert _hash(tree, "other base") != before
            return
    assert _hash(tree, "base") != before


def test_the_hash_does_not_change_with_what_stays_out(tree: Path) -> None:
    before = _hash(tree)
    (tree / "other.txt").write_text("changed")
    (tree / "code/__pycache__/a.pyc").write_text("changed")
    os.utime(tree / "code/a.py", (1, 1))
    assert _hash(tree) == before


def test_a_staged_file_has_a_fixed_time(tree: Path, tmp_path: Path) -> None:
    stage(tree, source_files(tree, ("code",)), tmp_path / "context")
    staged = sorted(path for path in (tmp_path / "context").rglob("*") if path.is_file())
    assert [(path.name, path.stat().st_mtime) for path in staged] == [("a.py", 946_684_800), ("b.py", 946_684_800)]


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_every_file_that_a_dockerfile_copies_is_among_the_sources(image: Image) -> None:
    files = {str(path) for path in source_files(REPOSITORY, (image.dockerfile, *image.sources))} | {*image.programs}
    lines = (REPOSITORY / image.dockerfile).read_text().replace("\\\n", " ").splitlines()
    copied = [word for line in lines if line.startswith("COPY ") for word in _copied(line)]
    assert copied or not image.sources
    for word in copied:
        assert any(file == word or file.startswith(f"{word.rstrip('/')}/") for file in files), word


@pytest.mark.parametrize("image", [IMAGES[name] for name in DEPLOYED], ids=DEPLOYED)
def test_a_build_by_hand_gets_the_same_files(image: Image) -> None:
    lines = (REPOSITORY / f"{image.dockerfile}.dockerignore").read_text().splitlines()
    assert [line[1:] for line in lines if line.startswith("!")] == list(image.sources)


def _copied(line: str) -> list[str]:
    words = line.split()[1:-1]
    return [] if any(word.startswith("--from=") for word in words) else words
