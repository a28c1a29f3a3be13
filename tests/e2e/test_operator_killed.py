"""The operator is killed with -9 at random moments while sessions are created: nothing is lost, nothing runs twice."""

import random
import threading
import time
from collections.abc import Callable

import pytest

import cluster
from e2e.api import PODS, Api, condition
from e2e.killing import end_operator
from e2e.lab import Lab
from e2e.manifests import TOOL_RESULT, bash
from e2e.sizes import size

_SESSIONS, _DEATHS = size(10, 20), size(4, 6)
_PAUSES = (0.2, 4.0)
"""Seconds between two deaths: from the middle of a pass to long after it."""


def _create(lab: Lab, count: int, pause: Callable[[], float], problems: list[BaseException]) -> None:
    """Create sessions one after another, from a thread of its own."""
    try:
        for number in range(count):
            lab.start(f"task-{number}", steps=(bash(f"echo ran-{number}"), {"text": TOOL_RESULT}))
            time.sleep(pause())
    except BaseException as error:
        problems.append(error)


@pytest.mark.requirement("K01", "K02")
@pytest.mark.ends_operator
@pytest.mark.timeout(600)
def test_a_killed_operator_loses_nothing_and_doubles_nothing(lab: Lab, api: Api, provider: cluster.Provider) -> None:
    """Creations, and deaths at random moments; the pauses are the chaos, nothing waits on them."""
    seed = time.time_ns()
    print(f"seed {seed}")
    chance = random.Random(seed)
    problems: list[BaseException] = []
    creator = threading.Thread(target=_create, args=(lab, _SESSIONS, lambda: chance.uniform(0.1, 0.8), problems))
    lab.operator.keep_evidence()
    creator.start()
    deaths = []
    for _ in range(_DEATHS):
        time.sleep(chance.uniform(*_PAUSES))
        deaths.append(end_operator(lab.operator, api, provider))
    creator.join()
    assert not problems, problems
    print(f"deaths: {deaths}")
    for number in range(_SESSIONS):
        found = lab.finished(f"task-{number}", 400)
        assert condition(found, "Succeeded")["status"] == "True", (seed, found["status"])
        assert found["status"]["result"]["text"].strip() == f"ran-{number}"
        assert found["status"]["restarts"] == 0, (seed, found["status"])
        assert lab.model_requests(found) == 2
        lives = lab.witness.of(found["metadata"]["uid"])
        assert len(lives) == 1, (seed, lives)
        lab.gone(PODS, lives[0].name)
