"""Status changes that several steps of a plan share; pure."""

import re
from datetime import datetime

from agentsessions.api.conditions import Reason, State, conditions_for
from agentsessions.api.config import OperatorConfig
from agentsessions.api.session import AgentSession
from agentsessions.api.status import AgentSessionStatus, Host
from agentsessions.policies.endpoint import endpoint
from agentsessions.policies.facts import PodFacts
from agentsessions.reconcile.model import Observed

_CHATTY = frozenset(
    {
        Reason.UNSCHEDULABLE,
        Reason.VOLUME_NOT_READY,
        Reason.START_FAILED,
        Reason.POD_REJECTED,
        Reason.QUOTA_EXCEEDED,
    }
)
"""Reasons whose message others write: it may change with every look, and our writes must not."""
_COUNTING = frozenset({Reason.UNSCHEDULABLE, Reason.QUOTA_EXCEEDED})
"""Those of them in whose message figures change all the time, and words only when there is something else to do."""


def set_state(
    seen: Observed, state: State, reason: str, message: str, now: datetime, *, onto: AgentSessionStatus | None = None
) -> AgentSessionStatus:
    """Return the session's status, or the one that is being made of it (`onto`), with the conditions of `state`."""
    session = seen.session
    conditions = conditions_for(
        state,
        reason,
        steady(session, state, reason, message),
        previous=session.status.conditions,
        generation=session.metadata.generation,
        now=now,
    )
    update = {
        "conditions": conditions,
        "observed_generation": session.metadata.generation,
        "session_id": session.metadata.uid,
        "queue": None,
        "endpoint": None,
    }
    return (onto or session.status).model_copy(update=update)


def steady(session: AgentSession, state: State, reason: str, message: str) -> str:
    """Keep the message of a state that has not changed, where its words are not ours and the spec is the same.

    Figures in it may be of before: how many nodes there are, or how much of a quota is used.
    """
    ready = session.status.condition("Ready")
    if ready is None or reason not in _CHATTY or state not in (State.PROGRESSING, State.BLOCKED):
        return message
    same = ready.reason == reason and ready.observed_generation == session.metadata.generation
    if same and reason in _COUNTING:
        same = _words(ready.message) == _words(message)
    return ready.message if same else message


def _words(message: str) -> list[str]:
    """Return the words of a message without its figures, and in no order: the scheduler sorts by figures."""
    return sorted(re.findall(r"[^\W\d][^\s,;.]*", re.sub(r"\d\w*", "", message)))


def running(seen: Observed, pod: PodFacts, now: datetime, config: OperatorConfig) -> AgentSessionStatus:
    """Return the status of a session whose agent is at work: only then can it be talked to."""
    status = set_state(seen, State.RUNNING, Reason.RUNNING, f"The agent is at work in pod '{pod.name}'.", now)
    start = status.start_time or pod.accepted or now
    update = {"start_time": start, "host": host_of(pod), "endpoint": endpoint(seen.session, config)}
    return status.model_copy(update=update)


def host_of(pod: PodFacts) -> Host:
    """Return where the session is."""
    return Host(pod=pod.name, pod_uid=pod.uid, node=pod.node)
