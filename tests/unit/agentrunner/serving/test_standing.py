"""How a session on a host stands."""

import pytest

from agentrunner.serving.standing import Standing


@pytest.mark.parametrize(("kills", "told"), [(lambda: 1, 1), (None, None)], ids=["of-its-own", "of-many-sessions"])
def test_a_fault_is_told_together_with_what_was_killed_by_then(kills: object, told: int | None) -> None:
    standing = Standing(kills=kills)  # type: ignore[arg-type]
    standing.blame("AgentOomKilled", "The agent's process was killed.")
    assert (standing.told()["fault"].reason, standing.told()["oom_kills"]) == ("AgentOomKilled", told)
