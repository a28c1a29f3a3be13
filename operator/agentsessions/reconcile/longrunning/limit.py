"""The limit of a Hybrid session in a pod of its own: with more than `backoffLimit` failures in a row it stops; pure.

A pod of its own, since only there a crash is the session's: the host of a pool may fall by any of the sessions on it.
"""

from dataclasses import replace
from datetime import datetime

from agentsessions.api.conditions import Reason
from agentsessions.api.status import AgentSessionStatus
from agentsessions.reconcile.longrunning.model import LOOK_AGAIN, Around, Step
from agentsessions.reconcile.longrunning.rows import blocked
from agentsessions.reconcile.longrunning.sleeping import AGAIN_BY_MESSAGE, podless

_KEPT = "Its pod is kept, and started again by its node, since what is on its disk is nowhere else."


def is_over(around: Around) -> bool:
    """Return whether no failure is left to the session."""
    return around.session.status.failures > around.session.spec.backoff_limit


def stopped(around: Around, now: datetime, *, keeps_pod: bool) -> Step:
    """Say that the session has failed too often, and what will make it try again."""
    status, bound = around.session.status, around.session.spec.backoff_limit
    last = status.last_termination
    count = f"No attempt is left: failures in a row {status.failures}, backoffLimit {bound}."
    text = " ".join([*([last.message] if last else []), count, _KEPT if keeps_pod else AGAIN_BY_MESSAGE])
    step = blocked(around, Reason.BACKOFF_LIMIT_EXCEEDED, text, now)
    return replace(step, requeue=LOOK_AGAIN) if keeps_pod else podless(around, step, now)


def anew(status: AgentSessionStatus) -> AgentSessionStatus:
    """Return the status with the count begun anew: a message came, and with it a new reason to try."""
    return status.model_copy(update={"failures": 0, "disruptions": 0})
