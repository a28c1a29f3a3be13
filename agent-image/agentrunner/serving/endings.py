"""How a turn can end that was not answered: the type of the problem, and what the client reads."""

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
MOVED = "session-moved"
"""Why a turn, or a session, ended here: another pod has claimed it."""
MOVED_TURN = (MOVED, "The session goes on in another pod, without this turn.")
"""What came of the turn here is in no conversation."""


def word(slug: str) -> str:
    """Return a type of problem as a reason in CamelCase."""
    return "".join(part.capitalize() for part in slug.split("-"))
