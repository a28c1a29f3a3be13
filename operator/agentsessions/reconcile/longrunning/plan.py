"""What to do about a LongRunning session: pure, in two halves around the one call that a pass may make to a host.

`decide` looks at the world and may ask for a handover; `answers` turns what the host says to it into a status. A life
goes so: placed (written down), handed over, Running; from then on the host's news keep the status, until the host is
lost.
"""

from datetime import datetime

from agentsessions.api.conditions import ConditionType, Reason, State
from agentsessions.api.config import OperatorConfig
from agentsessions.api.host import Beginning, HostSession, Phase
from agentsessions.api.pool import AgentPool
from agentsessions.api.status import AgentSessionStatus, Host
from agentsessions.builders.activation import activation
from agentsessions.policies.endpoint import endpoint
from agentsessions.policies.hosts import HostFacts
from agentsessions.policies.resolve import Settings, describe, resolve
from agentsessions.reconcile.longrunning.figures import paced, with_figures
from agentsessions.reconcile.longrunning.model import LOOK_AGAIN, Around, Handover, Step
from agentsessions.reconcile.longrunning.placing import lost, place
from agentsessions.reconcile.longrunning.rows import blocked, set_state, waiting, with_resumed

_HELD = frozenset({Reason.RUNNING, Reason.CLI_FAILED})
"""Reasons of Ready of a session that its host has taken."""


def decide(around: Around, now: datetime, config: OperatorConfig) -> Step:
    """Return what to do about the session."""
    pool = around.pool
    if pool is None:
        text = f"AgentPool '{around.pool_name}' (`poolRef.name`) does not exist in this namespace."
        return blocked(around, Reason.POOL_NOT_FOUND, f"{text} Create it and the session starts.", now)
    settings = _settings(around, config)
    if settings is None:
        return blocked(around, Reason.TEMPLATE_NOT_FOUND, around.template_problem, now)
    host = around.session.status.host
    if host is None:
        return place(around, pool, now, config)
    pod = around.pod(host.pod_uid)
    if pod is None:
        return lost(around, pool, host, settings.storage is not None, now, config)
    return _on_host(around, pool, settings, pod, now, config)


def _settings(around: Around, config: OperatorConfig) -> Settings | None:
    """Return what the session runs with, or None while the pool's template cannot be had."""
    if around.template_problem:
        return None
    return resolve(around.session.spec, around.template, config.defaults, template_name=around.template_name)


def _on_host(
    around: Around, pool: AgentPool, settings: Settings, pod: HostFacts, now: datetime, config: OperatorConfig
) -> Step:
    """The session's pod is there: hand the session over if the host does not have it as it should, else follow it."""
    if not pod.ready and not pod.deleting:
        text = f"Host '{pod.name}' is not ready."
        return waiting(around, Reason.HOST_NOT_READY, text, now, LOOK_AGAIN)
    if not _must_be_given(around, settings):
        return _followed(around, pod, now, config)
    if pod.deleting:
        text = f"Host '{pod.name}' stops; the session is given to what follows it."
        return waiting(around, Reason.HOST_NOT_READY, text, now, LOOK_AGAIN)
    status = around.session.status.model_copy(update={"resolved": describe(settings)})
    return Step(status, handover=Handover(pod, activation(around.session, settings, pool)))


def _must_be_given(around: Around, settings: Settings) -> bool:
    """Return whether the host has to be told of the session: it never was, it forgot, or the settings changed."""
    status = around.session.status
    ready = status.condition(ConditionType.READY)
    if ready is None or ready.reason not in _HELD or status.resolved is None:
        return True
    changed = status.resolved.template_hash != settings.hash
    return changed or _forgotten(around)


def _forgotten(around: Around) -> bool:
    """Return whether the host says that it does not have the session; a host not heard yet says nothing."""
    return around.heard and around.news is None


def _followed(around: Around, pod: HostFacts, now: datetime, config: OperatorConfig) -> Step:
    """The host has the session: take over what it tells of it."""
    before = around.session.status
    news = around.news
    after = as_told(around, before, pod, news, now) if news else _running(around, before, pod, now)
    after = after.model_copy(update={"endpoint": endpoint(around.session, config)})
    status, wait = paced(before, after, around.written, now)
    return Step(status, requeue=wait)


def as_told(
    around: Around, status: AgentSessionStatus, pod: HostFacts, news: HostSession, now: datetime
) -> AgentSessionStatus:
    """Return the status by the host's news."""
    status = with_figures(status, news)
    if news.phase is Phase.FAILED:
        text = f"The agent's process failed: {_fault(news)} The next message starts a new one."
        return set_state(around, State.BLOCKED, Reason.CLI_FAILED, text, now, onto=status)
    if news.beginning is Beginning.RESUMED:
        # Also without a handover: a host that was started anew finds its sessions on its own disk.
        text = "The conversation was found and goes on."
        status = with_resumed(around, status, "True", Reason.TRANSCRIPT_FOUND, text, now)
    return _running(around, status, pod, now)


def _fault(news: HostSession) -> str:
    """Return what the host says of a fault, as a sentence."""
    text = (news.fault.message if news.fault else "no reason given").rstrip(". ")
    return f"{text}."[:500]


def _running(around: Around, status: AgentSessionStatus, pod: HostFacts, now: datetime) -> AgentSessionStatus:
    """Return the status of a session that its host has."""
    status = set_state(around, State.RUNNING, Reason.RUNNING, f"The session is on host '{pod.name}'.", now, onto=status)
    update = {"host": Host(pod=pod.name, pod_uid=pod.uid, node=pod.node), "start_time": status.start_time or now}
    return status.model_copy(update=update)
