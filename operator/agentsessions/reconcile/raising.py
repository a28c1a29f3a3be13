"""A task that ended at a bound goes on when its bound is raised, where a volume has what there was of it; pure."""

from datetime import datetime, timedelta

from agentsessions.api.conditions import Reason, State
from agentsessions.api.session import AgentSession
from agentsessions.api.termination import ReportReason
from agentsessions.reconcile.model import Observed, Plan
from agentsessions.reconcile.rows import set_state


def may_go_on(seen: Observed) -> bool:
    """Return whether a session that is over has got more of what it lacked, and no pod of it lives any more."""
    return _is_raised(seen.session) and all(pod.is_terminal for pod in seen.own_pods)


def _is_raised(session: AgentSession) -> bool:
    """Return whether the session itself, and not its template, was changed since to name more of what it lacked."""
    status, spec = session.status, session.spec
    known, ready = status.resolved, status.condition("Ready")
    if known is None or not known.storage or ready is None:
        return False
    # By the condition, which nothing changes after the end: `status.observedGeneration` follows the spec.
    if ready.observed_generation is None or session.metadata.generation <= ready.observed_generation:
        return False
    wanted = {
        str(ReportReason.MAX_TURNS_EXCEEDED): (known.max_turns, spec.agent.max_turns if spec.agent else None),
        str(Reason.DEADLINE_EXCEEDED): (
            known.active_deadline_seconds,
            spec.limits.active_deadline_seconds if spec.limits else None,
        ),
    }
    before, now = wanted.get(ready.reason, (None, None))
    return before is not None and now is not None and now > before


def reopened(seen: Observed, now: datetime) -> Plan:
    """Begin the next attempt of a session that was over; its deadline counts anew, and so do its failures."""
    before = seen.session.status
    text = "The bound at which the session ended was raised: another attempt goes on where it stopped."
    status = set_state(seen, State.PROGRESSING, Reason.STARTING, text, now)
    anew = {"completion_time": None, "start_time": None, "host": None, "failures": 0, "disruptions": 0}
    return Plan(status.model_copy(update=anew | {"restarts": before.restarts + 1}), requeue=timedelta())
