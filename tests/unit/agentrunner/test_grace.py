"""How long an agent may work on once its pod was told to stop."""

import os
from pathlib import Path

import pytest

from agentrunner.grace import Grace, read_grace
from agentrunner.session import INTERRUPT_SECONDS


@pytest.mark.parametrize(
    ("grace", "seconds"),
    [
        pytest.param(Grace(), 0, id="a-pod-that-names-none"),
        pytest.param(Grace(0.0), 0, id="safe"),
        pytest.param(Grace(20.0), 0, id="only-the-reserve"),
        pytest.param(Grace(30.0), 10, id="the-default"),
        pytest.param(Grace(600.0), 580, id="long"),
        pytest.param(Grace(600.0, deadline=3600.0, began=900.0), 580, id="far-from-the-deadline"),
        pytest.param(Grace(600.0, deadline=150.0, began=900.0), 50, id="not-beyond-the-deadline"),
        pytest.param(Grace(600.0, deadline=100.0, began=900.0), 0, id="the-deadline-itself"),
        pytest.param(Grace(600.0, deadline=10.0, began=900.0), 0, id="late"),
    ],
)
def test_what_is_left(grace: Grace, seconds: float) -> None:
    assert grace.left(now=1000.0) == seconds


def test_what_is_kept_back_is_enough_for_an_interrupted_turn() -> None:
    assert 30.0 - Grace(30.0).left(0.0) > INTERRUPT_SECONDS


def test_the_pod_says_it_and_its_life_began_when_its_files_were_written(tmp_path: Path) -> None:
    file = tmp_path / "session.json"
    file.touch()
    os.utime(file, (1000, 1000))
    own = {"AGENTSESSIONS_GRACE_SECONDS": "90", "AGENTSESSIONS_DEADLINE_SECONDS": "3600"}
    assert read_grace(own, tmp_path) == Grace(90.0, 3600.0, 1000.0)
    assert read_grace({}, tmp_path) == Grace(0.0, None, 1000.0)
