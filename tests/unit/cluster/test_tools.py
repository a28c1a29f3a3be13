"""The pins: what they build, and when a kept build is still good."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cluster import __main__ as command_line
from cluster import build, paths, tools
from cluster.errors import ClusterError
from cluster.local.provider import LocalProvider
from cluster.tools import Binary, Group


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Group:
    """A group with a go.mod of its own."""
    monkeypatch.setattr(paths, "TOOLS", tmp_path)
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "go.mod").write_text("module made\n")
    return Group("made", (Binary("made", "example.org/made", 1),))


def test_the_key_depends_on_pins_and_flags_only(group: Group) -> None:
    before = group.key()
    assert group.key() == before
    assert re.fullmatch("[0-9a-f]{16}", before)
    assert Group("made", group.binaries, "-w").key() != before
    assert Group("made", (Binary("made", "example.org/other", 1),)).key() != before
    (group.source / "go.mod").write_text("module made // changed\n")
    assert group.key() != before


def test_the_seconds_do_not_matter_for_the_key(group: Group) -> None:
    assert Group("made", (Binary("made", "example.org/made", 2),)).key() == group.key()


def test_every_group_has_complete_pins() -> None:
    for group in tools.GROUPS:
        assert (group.source / "go.mod").is_file(), group.name
        assert group.name == "pause" or (group.source / "go.sum").stat().st_size > 0


def test_no_binary_has_two_groups() -> None:
    names = [item.name for group in tools.GROUPS for item in group.binaries]
    assert len(names) == len(set(names))


def test_versions_agree_with_the_pins() -> None:
    pins = (tools.group_named("kubernetes").source / "go.mod").read_text()
    assert f"k8s.io/kubernetes {tools.KUBERNETES}" in pins
    assert f"k8s.io/api => k8s.io/api {tools.KUBERNETES.replace('v1.', 'v0.')}" in pins
    kubernetes = tools.group_named("kubernetes").linker_flags
    assert f"gitVersion={tools.KUBERNETES}" in kubernetes
    assert f"gitMinor={tools.KUBERNETES.split('.')[1]}" in kubernetes


def test_builds_never_change_the_pins() -> None:
    for group in tools.GROUPS:
        for item in group.binaries:
            assert "-mod=readonly" in group.arguments(item, Path("out"))


def test_an_unknown_program_is_named_with_those_that_exist() -> None:
    with pytest.raises(ClusterError, match=r"kubeclt: not one of .*kubectl"):
        build.binary("kubeclt")


def test_a_failed_build_leaves_nothing(
    group: Group, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tools, "GROUPS", (group,))
    monkeypatch.setattr(build, "ensure_go", lambda: None)

    def fails(*_: object, **__: object) -> str:
        raise ClusterError("no network")

    monkeypatch.setattr(build, "run", fails)
    with pytest.raises(ClusterError, match="no network"):
        build.ensure(("made",))
    assert list((tmp_path / "cache" / "agentsessions" / "bin").iterdir()) == []
    assert "[1/1] made" in capsys.readouterr().err


def test_a_build_is_kept(group: Group, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tools, "GROUPS", (group,))
    monkeypatch.setattr(build, "ensure_go", lambda: None)
    built = []

    def builds(command: list[str], **_: object) -> str:
        output = Path(command[command.index("-o") + 1])
        output.write_text("program")
        built.append(output.name)
        return ""

    monkeypatch.setattr(build, "run", builds)
    first, second = build.ensure(("made",)), build.ensure(("made",))
    assert first == second
    assert (first["made"] / "made").read_text() == "program"
    assert built == ["made"]


def test_what_all_tests_use_is_built_ahead_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(build, "ensure", asked.extend)
    monkeypatch.setattr(command_line, "provider", LocalProvider)
    monkeypatch.setattr(command_line, "end_with_caller", lambda: asked.append("while somebody waits"))
    assert command_line.main(["ahead"]) == 0
    assert asked == ["while somebody waits", "helm", "versitygw", *tools.LOCAL]
    assert {tools.group_named(name).name for name in asked[1:]} == set(asked[1:])


_CHILD = """
import os, signal, time
from cluster.caller import end_with_caller
def told(*_): print("told", flush=True); os._exit(0)
signal.signal(signal.SIGTERM, told)
end_with_caller()
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
def test_whoever_builds_ahead_is_told_when_the_caller_has_been_killed() -> None:
    words = [sys.executable, "-c", _CHILD]
    caller = f"import subprocess; subprocess.Popen({words!r}).wait()"
    place = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", caller], stdout=subprocess.PIPE, text=True, env=place) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        parent.kill()
        assert parent.stdout.readline() == "told\n"
