"""Counting kills for want of memory."""

from pathlib import Path

import pytest

from agentrunner.oom import Watch, count, parse


@pytest.mark.parametrize(
    ("text", "kills"),
    [
        pytest.param("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", 3, id="cgroup-v1"),
        pytest.param("low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 0\n", 1, id="cgroup-v2"),
        pytest.param("oom_kill_disable 0\nunder_oom 0\n", None, id="old-kernel"),
        pytest.param("", None, id="empty"),
    ],
)
def test_the_counter_is_read(text: str, kills: int | None) -> None:
    assert parse(text) == kills


@pytest.mark.parametrize("name", ["memory.events", "memory/memory.oom_control"])
def test_both_kinds_of_cgroup_are_looked_at(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("oom_kill 2\n")
    assert count(tmp_path) == 2


def test_without_a_cgroup_nothing_was_killed(tmp_path: Path) -> None:
    assert count(tmp_path) == 0


@pytest.mark.parametrize(("looks", "recent"), [(0, 1), (1, 1), (2, 0)])
def test_what_was_killed_long_ago_is_told_from_what_was_killed_just_now(
    tmp_path: Path, looks: int, recent: int
) -> None:
    path = tmp_path / "memory.events"
    path.write_text("oom_kill 2\n")
    watch = Watch(tmp_path)
    path.write_text("oom_kill 3\n")
    for _ in range(looks):
        watch.look()
    assert watch.recent() == recent
