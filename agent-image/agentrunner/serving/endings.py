"""How a turn can end that was not answered: the type of the problem, and what the client reads."""

from typing import NamedTuple

from claude_agent_sdk import ResultMessage

from agentrunner.outcome import judge_result
from agentsessions.api.base import Json
from agentsessions.api.termination import ReportReason

CRASHED = (
    "agent-crashed",
    "The agent's process died. What it had done so far is kept; send a message to go on.",
)
ENDED = ("agent-crashed", "The CLI ended by itself; the next message starts another.")
STARVED = (
    "agent-oom-killed",
    "The agent's process was killed: it and its tools used more than the memory limit (`resources.memory`). What it "
    "had done so far is kept; send a message to go on.",
)
OVERDUE_TURN = (
    "turn-deadline-exceeded",
    "The turn took longer than it may (`limits.turnDeadlineSeconds`) and was ended. What it had done so far is kept; "
    "send a message to go on.",
)
LOST_TURN = (
    "turn-not-kept",
    "There was no room on the session's volume for what was said: what the agent has done is done, but it will not "
    "remember this turn. Delete files in its workspace, or make the volume larger, then go on.",
)
MOVED = "session-moved"
"""Why a turn, or a session, ended here: another pod has claimed it."""
MOVED_TURN = (MOVED, "The session goes on in another pod, without this turn.")
"""What came of the turn here is in no conversation."""


def died(*, overdue: bool, starved: bool) -> tuple[str, str]:
    """Return how the turn of a process ended that died or had to be killed."""
    if overdue:
        return OVERDUE_TURN
    return STARVED if starved else CRASHED


class CutShort(NamedTuple):
    """Why a turn came to its end before the agent did: a reason in CamelCase, and what the client reads."""

    reason: str
    message: str


_BOUNDS: dict[str, str] = {
    ReportReason.MAX_TURNS_EXCEEDED: "the agent used all the model turns of one message (`agent.maxTurns`)",
    ReportReason.MODEL_UNAVAILABLE: "the model endpoint did not answer, or was overloaded, as often as a call is tried "
    "(`agent.maxApiRetries`)",
}
"""Why a turn ends that is not run again. Always in the same words: by these the operator knows what it has told."""


def cut_short(result: ResultMessage) -> CutShort | None:
    """Return the bound that ended a turn, if one did; a turn that somebody interrupted was not ended by one."""
    verdict = judge_result(result, stopping=True, wants_structure=False)
    if (why := _BOUNDS.get(verdict.reason)) is None:
        return None
    text = f"The turn was ended: {why}. What it had done so far is kept; send a message to go on."
    return CutShort(verdict.reason, text)


def done(cut: CutShort | None, durable: bool | None) -> Json:
    """Return what the last event of a turn says: nothing of one that ended as it should."""
    why: Json = cut._asdict() if cut is not None else {}
    return why if durable is not False else why | {"transcriptDurable": False}


def word(slug: str) -> str:
    """Return a type of problem as a reason in CamelCase."""
    return "".join(part.capitalize() for part in slug.split("-"))
