"""Whether a pod may have the last copy of something: whatever lets go of a session's own pod asks here; pure.

A pod's disk has the conversation, of which the store may lack something, and the workspace, of which an archive has
what there was at the last sleep. So nothing is lost with a pod that never had the session, nor with one of which all is
stored. In doubt it had it, and something is not. Who is believed:

| | that the pod never had the session | that all of it is stored |
|---|---|---|
| the pod | no container of it has started | |
| its host | that it knows no such session; not if it has ended in between: it may not have read its disk | `durable` |
| status | no node in `host`, and Active is False since before the pod was made | TranscriptDurable, as last told |
| the store | that it has less than there was: then neither line of status is believed | the same |

The node in `host` is written down when the session first runs there. When Active changed and when the pod was made are
told by two clocks, and so never gainsay it.

Not covered: a host that was given the session by a pass that was cut short, and has crashed ever since, before any
operator heard of it.
"""

from agentsessions.api.conditions import ConditionType, Reason
from agentsessions.api.status import AgentSessionStatus
from agentsessions.policies.facts import PodFacts
from agentsessions.policies.resolve import Settings
from agentsessions.reconcile.longrunning.model import Around

_CONTRADICTED = frozenset({Reason.TRANSCRIPT_MISSING, Reason.TRANSCRIPT_TRUNCATED, Reason.TRANSCRIPT_DIVERGED})
"""Reasons of Stalled by which the store does not have what status says that it has."""


def may_have_the_last_copy(around: Around, pod: PodFacts, settings: Settings) -> bool:
    """Return whether something may go with the session's own pod that a sleep would have kept."""
    workspace = settings.fields.workspace
    archived = workspace is not None and workspace.archive is not None
    return may_have_the_session(around, pod) and (archived or not _is_stored(around))


def may_have_the_session(around: Around, pod: PodFacts) -> bool:
    """Return whether the session's own pod may have it, or have had it, and its disk can still be read."""
    if pod.is_terminal or not pod.has_started:
        return False
    if around.news is not None:
        return True
    knows_nothing = around.heard and not pod.restarted
    return not knows_nothing and not _never_ran_since(around, pod)


def keeps_drains_away(around: Around, pod: PodFacts, status: AgentSessionStatus) -> bool:
    """Return whether the pod must not be evicted: by `status`, what it has of the conversation is nowhere else.

    Files are not asked for: they go into the archive within the grace period, as the conversation goes into a store
    that answers.
    """
    durable = status.condition(ConditionType.TRANSCRIPT_DURABLE)
    return durable is not None and durable.status == "False" and may_have_the_session(around, pod)


def _is_stored(around: Around) -> bool:
    """Return whether the store has the whole conversation."""
    if around.news is not None and around.news.durable is not None:
        return around.news.durable
    durable = around.session.status.condition(ConditionType.TRANSCRIPT_DURABLE)
    return durable is not None and durable.status == "True" and not _is_contradicted(around)


def _never_ran_since(around: Around, pod: PodFacts) -> bool:
    """Return whether the session has not run since the pod was made."""
    host = around.session.status.host
    if host is not None and host.pod_uid == pod.uid and host.node is not None:
        return False
    active = around.session.status.condition(ConditionType.ACTIVE)
    rested = active is not None and active.status == "False" and active.last_transition_time <= pod.created
    return (rested or around.session.status.start_time is None) and not _is_contradicted(around)


def _is_contradicted(around: Around) -> bool:
    """Return whether the store was found to have less than status says."""
    stalled = around.session.status.condition(ConditionType.STALLED)
    return stalled is not None and stalled.status == "True" and stalled.reason in _CONTRADICTED
