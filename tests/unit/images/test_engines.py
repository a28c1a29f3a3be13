"""Choosing and calling a builder."""

from pathlib import Path

import pytest

from images import engines
from images.base import sources
from images.engines import Build, Buildah, Docker, Engine, choose
from images.errors import ImageError, NoEngine

BUILD = Build(Path("/c"), "x/Dockerfile", "name:dev", {"BASE_IMAGE": "base"}, {"pip": Path("/s/pip.conf")})
COMMON = "--file /c/x/Dockerfile --build-arg BASE_IMAGE=base --secret id=pip,src=/s/pip.conf /c"


@pytest.mark.parametrize(
    ("engine", "command"),
    [
        (Docker(), f"docker build --progress=plain --tag name:dev {COMMON}"),
        (
            Buildah(),
            f"buildah build --isolation chroot --layers --pull-never --format docker --tag name:dev {COMMON}",
        ),
    ],
    ids=["docker", "buildah"],
)
def test_a_build_is_one_command(monkeypatch: pytest.MonkeyPatch, engine: Engine, command: str) -> None:
    ran: list[str] = []
    monkeypatch.setattr(engines, "run", lambda words, verbose=False: ran.append(" ".join(map(str, words))))
    engine.build(BUILD, verbose=False)
    assert ran == [command]


def _machine(monkeypatch: pytest.MonkeyPatch, *, docker: bool, programs: set[str], root: bool) -> None:
    monkeypatch.delenv(engines.CHOICE, raising=False)
    monkeypatch.setattr(engines, "succeeds", lambda _: docker)
    monkeypatch.setattr("shutil.which", lambda name, path=None: name if name in programs else None)
    monkeypatch.setattr("os.geteuid", lambda: 0 if root else 1000)


def test_docker_is_taken_where_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    _machine(monkeypatch, docker=True, programs={"buildah", "debootstrap"}, root=True)
    assert choose().name == "docker"


def test_without_docker_buildah_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    _machine(monkeypatch, docker=False, programs={"buildah", "debootstrap"}, root=True)
    assert choose().name == "buildah"


@pytest.mark.parametrize(
    ("programs", "root", "says"),
    [
        ({"buildah"}, True, "missing: debootstrap"),
        (set(), True, "missing: buildah, debootstrap"),
        ({"buildah", "debootstrap"}, False, "as root"),
    ],
)
def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, programs: set[str], root: bool, says: str) -> None:
    _machine(monkeypatch, docker=False, programs=programs, root=root)
    with pytest.raises(NoEngine, match=says):
        choose()


def test_an_unknown_choice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(engines.CHOICE, "podman")
    with pytest.raises(ImageError, match="podman"):
        choose()


def test_security_updates_are_found_beside_the_mirror() -> None:
    assert sources("http://mirror.example.com/debian") == (
        "deb http://mirror.example.com/debian bookworm main\n"
        "deb http://mirror.example.com/debian-security bookworm-security main\n"
    )
