"""How an attempt ended: from the pod's own status and from the report that the agent left in it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from agentsessions.api.conditions import Reason
from agentsessions.api.status import Result, Usage
from agentsessions.api.termination import MAX_BYTES, Outcome, ReportReason, TerminationReport
from agentsessions.policies.facts import Ended, PodFacts
from agentsessions.policies.startup import PodWarning

_OWN_STORAGE = (
    "exceeded its local ephemeral storage limit",
    "ephemeral local storage usage exceeds",
    "usage of emptydir volume",
)
"""How the kubelet words the eviction of a pod over its own limits; a node that is full says it otherwise
(https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/eviction/eviction_manager.go)."""
_UNTOLD = (
    "Ephemeral local storage usage exceeds what the pod or one of its volumes may have: its node put an end to it, and"
    " says nothing else."
)
"""Begins as a kubelet's own words for it do, by which it is judged."""

_BY_NODE = frozenset(
    {"Evicted", "NodeAffinity", "NodeShutdown", "Preempting", "Shutdown", "Terminated", "UnexpectedAdmissionError"}
)
"""Reasons of a pod, not of its container, by which a kubelet says that it would not have it, or not any longer."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One attempt's end.

    `counts`: whether it is a failure by `backoffLimit`; `retryable`: whether another attempt could help.
    """

    succeeded: bool
    reason: str
    message: str
    retryable: bool = False
    counts: bool = True
    report: TerminationReport | None = None


def judge(pod: PodFacts, session_id: str, *, lost: bool = False) -> Verdict:
    """Return how the attempt in a pod ended that is terminal, or that somebody puts an end to.

    `lost`: nobody can be expected any more to say that it ended, so that it is given up as it is.
    """
    report = read_report(pod.ended, session_id)
    return (
        _by_success(pod, report)
        or _by_deadline(pod, report)
        or _by_node_loss(pod, report, lost=lost)
        or _by_eviction(pod, report)
        or _by_memory(pod, report)
        or _by_report(pod, report)
        or _by_disruption(pod, report)
        or _by_exit(pod, report)
    )


def judge_host(pod: PodFacts, session_id: str, *, lost: bool = False) -> Verdict:
    """Return how a pod ended that serves sessions: it does so until it is stopped, and to leave well is to obey."""
    verdict = judge(pod, session_id, lost=lost)
    return _stopped(pod, None) if verdict.succeeded else verdict


def ended_silently(pod: PodFacts) -> bool:
    """Return whether nothing in a pod that ended well says who put an end to it, so that only events do.

    A kubelet that evicts a pod over its own limits says so in its status, and again in other words once the containers
    have ended: those of a pod whose containers ended well say nothing of it, and may be all that it sends
    (https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/kubelet_pods.go, generateAPIPodStatus).
    """
    # For pods whose containers are started again however they end: none of them is over by itself.
    return pod.phase == "Succeeded" and not (pod.reason or pod.disrupted or pod.deleting)


def as_evicted(pod: PodFacts, evictions: Sequence[PodWarning]) -> PodFacts:
    """Return the facts of a pod that ended silently with what its node's events say of its eviction; the last counts.

    There may be none: a kubelet sends no more than some 25 events about a pod in a short while, and failed probes of a
    slow start are as many. A pod over its own limits is the only one that it ends without a condition in its status.
    """
    message = evictions[-1].message if evictions else _UNTOLD
    return replace(pod, phase="Failed", reason="Evicted", message=message)


def read_report(ended: Ended | None, session_id: str) -> TerminationReport | None:
    """Return the agent's report; None if there is none, or if it is about another session."""
    if ended is None or not ended.message.lstrip().startswith("{"):
        return None
    try:
        report = TerminationReport.model_validate(json.loads(ended.message, parse_int=_number))
        report.to_json()  # what could not be written to status is no report
    except (ValueError, RecursionError):
        return None
    return report if report.session_id == session_id else None


def _number(digits: str) -> int | float:
    """Return a whole number; one beyond 64 bits as the API server would read it."""
    return int(digits) if len(digits) < 19 else float(digits)


def result_of(pod: PodFacts, report: TerminationReport | None) -> Result:
    """Return the answer: the report's, else whatever text an image without reports left behind."""
    if report is not None:
        return report.result or Result()
    text = pod.ended.message if pod.ended else ""
    return Result(text=text, truncated=len(text.encode()) >= MAX_BYTES)


def usage_of(report: TerminationReport | None) -> Usage:
    """Return what the attempt used, as far as it could say."""
    return report.usage if report is not None else Usage()


def _by_success(pod: PodFacts, report: TerminationReport | None) -> Verdict | None:
    """A report of success is success, even if the container was killed while it left: the turn is paid for.

    Without a report exit code 0 is; but in a pod that was being stopped it may be mere obedience.
    """
    said_so = report is not None and report.outcome is Outcome.SUCCEEDED
    well = pod.phase == "Succeeded" and (pod.ended is None or pod.ended.exit_code == 0)
    if not said_so and (report is not None or not well or _was_stopped(pod)):
        return None
    text = "The agent finished its task."
    if result_of(pod, report).truncated:
        text = f"{text} Its answer was longer than a pod can report, and was cut."
    return Verdict(True, Reason.COMPLETED, text, report=report)


def _was_stopped(pod: PodFacts) -> bool:
    """Return whether somebody else put an end to the pod.

    A kubelet that is started anew with less to give away fails pods that run ("OutOfmemory"), and stops them.
    """
    by_node = pod.phase == "Failed" and (pod.reason in _BY_NODE or pod.reason.startswith("OutOf"))
    return pod.deleting or bool(pod.disrupted) or by_node


def _by_deadline(pod: PodFacts, report: TerminationReport | None) -> Verdict | None:
    """The node stops a pod that is over its activeDeadlineSeconds."""
    if pod.reason != "DeadlineExceeded":
        return None
    text = "The session was stopped: it ran longer than `limits.activeDeadlineSeconds`."
    return Verdict(False, Reason.DEADLINE_EXCEEDED, text, report=report)


def _by_node_loss(pod: PodFacts, report: TerminationReport | None, *, lost: bool) -> Verdict | None:
    """The node is gone, or not heard of: by the cluster, or since it never said that a deleted pod has ended."""
    if not pod.went_with_node and (not lost or pod.is_terminal):
        return None
    text = f"Pod '{pod.name}' was lost with its node '{pod.node or ''}'. {pod.disrupted}".rstrip()
    return Verdict(False, Reason.NODE_LOST, text, True, counts=False, report=report)


def _by_eviction(pod: PodFacts, report: TerminationReport | None) -> Verdict | None:
    """A pod that used too much disk was evicted by its own doing; any other disruption was not."""
    if pod.reason == "Evicted" and any(sign in pod.message.lower() for sign in _OWN_STORAGE):
        return Verdict(False, Reason.EPHEMERAL_STORAGE_EXCEEDED, pod.message, True, report=report)
    if pod.reason == "Evicted":
        return Verdict(False, Reason.EVICTED, pod.message, True, counts=False, report=report)
    if pod.disrupted:
        return Verdict(False, Reason.EVICTED, pod.disrupted, True, counts=False, report=report)
    return None


def _by_memory(pod: PodFacts, report: TerminationReport | None) -> Verdict | None:
    """The kernel killed the agent for want of memory, seen by the agent's image, or by the node if that is silent.

    The node also says so of a container in which only a tool was killed, and which went on and failed otherwise.
    """
    by_agent = report is not None and report.reason == ReportReason.OOM_KILLED
    silent = report is None or report.outcome is not Outcome.FAILED
    by_node = silent and pod.ended is not None and pod.ended.reason == "OOMKilled"
    if not by_node and not by_agent:
        return None
    text = "The agent was killed: it used more than its memory limit (`resources.memory`)."
    return Verdict(False, Reason.OOM_KILLED, text, True, report=report)


def _by_report(pod: PodFacts, report: TerminationReport | None) -> Verdict | None:
    """The agent says itself why it failed; that it was interrupted counts unless somebody did stop the pod.

    Where the node says why it did, that is told.
    """
    if report is None or report.outcome is not Outcome.FAILED:
        return None
    excused = report.reason == ReportReason.INTERRUPTED and _was_stopped(pod)
    if excused and pod.reason and pod.phase == "Failed":
        return None
    return Verdict(False, report.reason, report.message, report.retryable, not excused, report)


def _by_disruption(pod: PodFacts, report: TerminationReport | None) -> Verdict | None:
    """The pod was stopped from outside, or never ran, or its node lost track of it: not the agent's failure."""
    lost = pod.ended is None or pod.ended.reason == "ContainerStatusUnknown"
    return _stopped(pod, report) if lost or _was_stopped(pod) else None


def _stopped(pod: PodFacts, report: TerminationReport | None) -> Verdict:
    """Nobody says who stopped the pod, or what for, in words that are known."""
    text = f"Pod '{pod.name}' was stopped before its agent could finish. {pod.reason} {pod.message}".strip()
    return Verdict(False, Reason.POD_STOPPED, " ".join(text.split()), True, counts=False, report=report)


def _by_exit(pod: PodFacts, report: TerminationReport | None) -> Verdict:
    """Nothing but an exit code is known."""
    code = pod.ended.exit_code if pod.ended is not None else None
    text = f"The agent's container ended with exit code {code}."
    if report is None and pod.ended is not None and pod.ended.message:
        text = f"{text} It said: {pod.ended.message[:512]}"
    return Verdict(False, Reason.AGENT_FAILED, text, True, report=report)
