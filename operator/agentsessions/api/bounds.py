"""The bounds of a conversation, and whether one is reached. Pure; operator and host ask the same."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from agentsessions.api.base import ApiModel, Quantity
from agentsessions.api.conditions import Reason
from agentsessions.api.status import Usage
from agentsessions.api.termination import ReportReason


class Limit(StrEnum):
    """Which bound a conversation has reached, as the reason of its conditions."""

    TURNS = "TurnLimitReached"
    AGE = "AgeLimitReached"


PROBLEMS = {Limit.TURNS: "turn-limit-reached", Limit.AGE: "age-limit-reached"}
"""The type of the problem that a message gets, without its prefix."""

OF_A_TURN: frozenset[str] = frozenset(
    {Reason.TURN_DEADLINE_EXCEEDED, ReportReason.MAX_TURNS_EXCEEDED, ReportReason.MODEL_UNAVAILABLE}
)
"""Faults by which a host says that a turn ended at a bound of its own; the next message goes on."""

_WORDS = {
    Limit.TURNS: "The session has used the turns of its life (`limits.maxSessionTurns`).",
    Limit.AGE: "The session is as old as it may become (`limits.maxAgeSeconds`).",
}


class SessionLimits(ApiModel):
    """Bounds that a host keeps, most of them at the end of a turn. `not_after`: when the session is too old."""

    recycle_memory: Quantity | None = None
    recycle_age_seconds: int | None = Field(None, ge=1)
    turn_deadline_seconds: int | None = Field(None, ge=1)
    max_session_turns: int | None = Field(None, ge=1)
    not_after: datetime | None = None


def reached(limits: SessionLimits, usage: Usage | None, now: datetime) -> Limit | None:
    """Return the bound that a session has reached which has used so much, if there is one."""
    if limits.max_session_turns is not None and usage is not None and usage.turns >= limits.max_session_turns:
        return Limit.TURNS
    if limits.not_after is not None and now >= limits.not_after:
        return Limit.AGE
    return None


def explain(limit: Limit) -> str:
    """Return what to say of a session that has reached a bound."""
    return f"{_WORDS[limit]} It takes no messages until that is raised; its conversation is kept."
