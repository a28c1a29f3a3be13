"""Ends that a session outlives: of its host's container, of its agent's process, of its pod. Pure.

Each is written to status once, counted, and told by an event. What the kubelet has counted of a pod and what status has
told of it are compared by number, so that nothing is left out when nobody looked, and nothing is said twice.
"""

from dataclasses import replace
from datetime import datetime

from agentsessions.api.base import Json
from agentsessions.api.conditions import Reason
from agentsessions.api.host import AGENT_DEATHS, AGENT_OOM_KILLED
from agentsessions.api.status import AgentSessionStatus, Host, Termination
from agentsessions.policies.crash import judge_end
from agentsessions.policies.facts import Ended, PodFacts
from agentsessions.policies.hosts import HostFacts
from agentsessions.policies.outcome import Verdict, judge_host
from agentsessions.policies.restart import CALM, is_calm
from agentsessions.reconcile.longrunning.model import Around
from agentsessions.reconcile.model import Notice

_TOOLS = "A process that the agent had started was killed: more than the memory limit (`resources.memory`) was used."


def noted(around: Around, now: datetime) -> tuple[Around, tuple[Notice, ...]]:
    """Return what is known with the ends of the host's container and of the agent's process written down, if new."""
    host = around.session.status.host
    pod = around.pod(host.pod_uid) if host is not None and host.pod_uid is not None else None
    if host is None or pod is None:
        return around, ()
    if host.terminations is None:  # by a version that did not count: none of the ends so far is news
        status = around.session.status.model_copy(update={"host": host.model_copy(update={"terminations": pod.ends})})
        return around.knowing(status), ()
    found = _container(around, host, pod, now) or _process(around, host, pod) or _tools(around, host)
    if found is None:
        return around, ()
    status, notice = found
    restarted = status.restarts != around.session.status.restarts
    return replace(around.knowing(status), restarted=restarted), (notice,)


def judged(pod: PodFacts, session_id: str, *, lost: bool = False) -> tuple[Host, Verdict]:
    """Return where a session was whose pod is over, and how that ended; `lost` as for `judge_host`."""
    return Host(pod=pod.name, pod_uid=pod.uid, node=pod.node), judge_host(pod, session_id, lost=lost)


def with_loss(
    status: AgentSessionStatus, host: Host, verdict: Verdict, now: datetime, *, end: Ended | None = None
) -> AgentSessionStatus:
    """Return the status with the loss of a session's own pod written down, once; losses close together add up."""
    if tells_of(status.last_termination, host):
        return with_end(status, host, verdict, now, end=end)
    tally = _tally(status, 1, counts=verdict.counts, calm=is_calm(status.last_termination, now))
    return with_end(status, host, verdict, now, end=end).model_copy(update=tally)


def with_end(
    status: AgentSessionStatus, host: Host, verdict: Verdict, now: datetime, *, end: Ended | None = None
) -> AgentSessionStatus:
    """Return the status with the end of a pod in it; what it tells of that already, when it was to come, is completed.

    `end` is how its container ended, as far as the pod still says: one that is deleted without grace does not.
    """
    last = status.last_termination
    if last is None or not tells_of(last, host):
        last = _ended(host, verdict.reason, verdict.message, now)
    update: Json = {}
    if verdict.reason == Reason.NODE_LOST:  # also of a pod that was drained first, and whose node was lost then
        update |= {"reason": verdict.reason, "message": verdict.message[:1024]}
    if end is not None and last.exit_code is None:
        update |= {"exit_code": end.exit_code, "finished_at": end.finished_at or last.finished_at}
    return status.model_copy(update={"last_termination": last.model_copy(update=update)})


def outlived(status: AgentSessionStatus, limit: int) -> AgentSessionStatus:
    """Return the status of a session that its host has: the ends before were followed by another start, all of them.

    So they are `limit` at most, and only an end that is still to come is one too many.
    """
    return status.model_copy(update={"failures": min(status.failures, limit)})


def tells_of(last: Termination | None, host: Host) -> bool:
    """Return whether that is the end of this very pod; hosts of pools bear the same name one after the other."""
    if last is None or last.in_place or last.pod != host.pod:
        return False
    return not last.pod_uid or host.pod_uid in (None, last.pod_uid)


def at(pod: HostFacts, before: Host | None = None) -> Host:
    """Return where a session is that goes on in this pod: whatever ended there before is no business of its own.

    `before` is where it was; of the same pod, what was counted there holds on.
    """
    killed = before.oom_kills if before is not None and before.pod_uid == pod.uid else None
    return Host(pod=pod.name, pod_uid=pod.uid, node=pod.node, terminations=pod.ends, oom_kills=killed)


def _container(around: Around, host: Host, pod: HostFacts, now: datetime) -> tuple[AgentSessionStatus, Notice] | None:
    """Return the status with the ends of the host's container that it does not tell of yet, and the event."""
    status, new = around.session.status, pod.ends - (host.terminations or 0)
    if new <= 0 or pod.last_end is None or pod.terminal or pod.deleting:
        return None  # the end of a pod is another matter
    if pod.stands:  # of a pod that is evicted, the kubelet says first that its container has ended
        return None
    verdict = judge_end(pod.name, pod.last_end, around.killings)
    end, moment = pod.last_end, pod.last_end.finished_at or now
    last = _ended(at(pod), verdict.reason, verdict.message, moment, in_place=True)
    update: Json = {
        "host": host.model_copy(update={"terminations": pod.ends, "oom_kills": None}),
        "restarts": status.restarts + new,
        "oom_kills": status.oom_kills + (1 if verdict.reason == Reason.OOM_KILLED else 0),
        "last_termination": last.model_copy(update={"exit_code": end.exit_code}),
    }
    if around.pool is None:
        steady = end.started_at is not None and moment - end.started_at >= CALM
        calm = steady or is_calm(status.last_termination, moment)
        update |= _tally(status, 1 if steady else new, counts=verdict.counts, calm=calm)
    return status.model_copy(update=update), Notice("Warning", verdict.reason, "Restart", verdict.message)


def _process(around: Around, host: Host, pod: HostFacts) -> tuple[AgentSessionStatus, Notice] | None:
    """Return the status with the death of the agent's process that its host tells of, and the event.

    It is no failure that counts: nobody starts the next process but the next message.
    """
    news, status = around.news, around.session.status
    fault = (news.death or news.fault) if news is not None else None  # hosts of earlier versions tell of the fault only
    if fault is None or fault.reason not in AGENT_DEATHS:
        return None
    reason = Reason.OOM_KILLED if fault.reason == AGENT_OOM_KILLED else Reason.CLI_FAILED
    moment = fault.time.replace(microsecond=0)
    if _is_told(status.last_termination, pod.uid, moment) or tells_of(status.last_termination, host):
        return None  # the end of the pod is the later one, whatever its node's clock says
    last = _ended(at(pod), reason, fault.message, moment, in_place=True)
    known = _killed(around, host)
    uncounted = around.news is not None and around.news.oom_kills is None  # a host of many counts for none of them
    if reason == Reason.OOM_KILLED and uncounted:
        known = {"oom_kills": status.oom_kills + 1}
    update = {"last_termination": last.model_copy(update={"exit_code": fault.exit_code})} | known
    return status.model_copy(update=update), Notice("Warning", reason, "Restart", fault.message)


def _tools(around: Around, host: Host) -> tuple[AgentSessionStatus, Notice] | None:
    """Return the status with what was killed of the agent's tools while the agent itself lives on, and the event."""
    update = _killed(around, host)
    if not update:
        return None
    notice = Notice("Warning", Reason.OOM_KILLED, "Run", _TOOLS)
    return around.session.status.model_copy(update=update), notice


def _killed(around: Around, host: Host) -> Json:
    """Return what changes in status by processes that were killed for want of memory, as their host counts them.

    What it told before its container ended still stands, and is counted already: it has to vouch for its number.
    """
    status, told = around.session.status, around.news.oom_kills if around.news is not None and around.heard else None
    new = (told or 0) - (host.oom_kills or 0)
    if new <= 0:
        return {}
    return {"oom_kills": status.oom_kills + new, "host": host.model_copy(update={"oom_kills": told})}


def _ended(where: Host, reason: str, message: str, moment: datetime, *, in_place: bool | None = None) -> Termination:
    """Return what status tells of an end in a pod, or of a pod."""
    return Termination(
        reason=reason,
        message=message[:1024],
        finished_at=moment,
        pod=where.pod,
        pod_uid=where.pod_uid or "",
        node=where.node,
        in_place=in_place,
    )


def _is_told(last: Termination | None, pod_uid: str, moment: datetime) -> bool:
    """Return whether status tells of this moment in the life of the pod, or of a later one."""
    same = last is not None and last.pod_uid == pod_uid
    return same and last is not None and last.finished_at is not None and last.finished_at >= moment


def _tally(status: AgentSessionStatus, times: int, *, counts: bool, calm: bool) -> Json:
    """Return failures and disruptions in a row with those of now."""
    failures, disruptions = (0, 0) if calm else (status.failures, status.disruptions)
    if counts:
        return {"failures": failures + times, "disruptions": disruptions}
    return {"failures": failures, "disruptions": disruptions + times}
