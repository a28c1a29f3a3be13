"""What is missing is named at once, each with its way out."""

import os
from pathlib import Path

import pytest

from cluster import packages
from cluster.errors import ClusterError
from cluster.local import preflight, settings
from cluster.local.preflight import Check


def fails() -> None:
    """A check that does not hold."""
    raise ClusterError("no\nmemory")


def test_every_failure_is_named_with_its_advice() -> None:
    checks = [Check("one", fails, "Buy some"), Check("two", lambda: None, "-"), Check("three", fails, "Wait")]
    problems = preflight.failures(checks)
    assert problems == ["one: no memory. Buy some", "three: no memory. Wait"]
    text = preflight.report(problems)
    assert "nothing was started" in text
    assert all(problem in text for problem in problems)


def test_somebody_who_is_not_root_is_told_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(packages, "which", lambda _: None)
    monkeypatch.setenv("XDG_STATE_HOME", "/var/lib/somebody")
    with pytest.raises(ClusterError) as caught:
        preflight.require(settings.load())
    for word in ("root", "sudo", "containerd", "runc", "nftables", "XDG_STATE_HOME"):
        assert word in str(caught.value)


def test_packages_are_not_installed_by_somebody_who_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "which", lambda _: None)
    with pytest.raises(ClusterError, match=r"ctr, nft\..*apt-get install containerd nftables"):
        packages.ensure(["ctr", "nft"])


def test_all_missing_packages_are_installed_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def which(program: str) -> str | None:
        return f"/bin/{program}" if program == "apt-get" or commands else None

    def records(command: list[str], **_: object) -> str:
        commands.append(command)
        return ""

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(packages, "which", which)
    monkeypatch.setattr(packages, "run", records)
    packages.ensure(["ctr", "containerd", "runc"])
    assert commands[-1][-2:] == ["containerd", "runc"]
    packages.ensure(["ctr"])
    assert len(commands) == 2


def test_every_needed_program_has_a_package() -> None:
    assert set(preflight.PROGRAMS) <= set(packages.PACKAGES)


@pytest.mark.parametrize(
    ("text", "version"),
    [("go version go1.26.8 linux/amd64", (1, 26)), ("2:1.19~1", (1, 19)), ("(none)", (0, 0))],
)
def test_go_versions_are_read(text: str, version: tuple[int, int]) -> None:
    assert packages.go_version(text) == version


def test_go_advice_names_what_is_there() -> None:
    assert "Go is missing" in packages.go_advice(None)
    assert "Go 1.19 is too old" in packages.go_advice((1, 19))


def test_a_state_folder_that_nodes_would_hide_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("XDG_STATE_HOME", "/run/state")
    with pytest.raises(ClusterError, match=r"outside /run, /var/log, /var/lib .*XDG_STATE_HOME"):
        preflight.require(settings.load())


def test_the_package_installs_nothing_by_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    settings.load()
    assert list(tmp_path.iterdir()) == []
