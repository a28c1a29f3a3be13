"""What to do about a session that lasts: pure, in two halves around the one call that a pass may make to a host.

`decide` looks at the world and may ask for a handover; `answers` turns what the host says to it into a status. A life
goes so: placed (written down), handed over, Running; from then on the host's news keep the status, until the host is
lost.
"""

from dataclasses import replace
from datetime import datetime
from typing import cast

from agentsessions.api.bounds import reached
from agentsessions.api.conditions import HELD, ConditionType, Reason, State
from agentsessions.api.config import OperatorConfig
from agentsessions.api.host import Beginning, HostSession, Phase
from agentsessions.api.status import AgentSessionStatus, Host
from agentsessions.api.template import DEFAULT_DISRUPTION
from agentsessions.builders.activation import activation, session_limits
from agentsessions.builders.disruption import Mark
from agentsessions.builders.storage import store_problem, workspace_problem
from agentsessions.policies.endpoint import endpoint
from agentsessions.policies.facts import PodFacts
from agentsessions.policies.hosts import HostFacts
from agentsessions.policies.resolve import Settings, describe, resolve
from agentsessions.reconcile.longrunning import forgetting, images, limit, ownpod, sleeping, stopping
from agentsessions.reconcile.longrunning.figures import paced, with_figures
from agentsessions.reconcile.longrunning.lastcopy import may_have_the_session
from agentsessions.reconcile.longrunning.limits import bounded, cut_short, last_words, watched
from agentsessions.reconcile.longrunning.model import LOOK_AGAIN, Around, Handover, Step
from agentsessions.reconcile.longrunning.placing import ending, lost, place
from agentsessions.reconcile.longrunning.restarts import at, outlived
from agentsessions.reconcile.longrunning.rows import blocked, set_state, waiting, with_resumed, with_stored
from agentsessions.reconcile.model import Notice

CUT = " Its last turn was interrupted."


def decide(around: Around, now: datetime, config: OperatorConfig) -> Step:
    """Return what to do about the session."""
    if around.pool_name and around.pool is None:
        text = f"AgentPool '{around.pool_name}' (`poolRef.name`) does not exist in this namespace."
        return blocked(around, Reason.POOL_NOT_FOUND, f"{text} Create it and the session starts.", now)
    wanted = _settings(around, config)
    if wanted is None:
        return _halted(around, blocked(around, Reason.TEMPLATE_NOT_FOUND, around.template_problem, now), now)
    settings = wanted if images.is_tried_again(around, now) else images.chosen(around, wanted)
    if step := forgetting.finalizer(around, settings):
        return step
    limits = session_limits(settings, around.pool, created=around.session.metadata.creation_timestamp)
    around = replace(around, limits=limits)
    live = _hybrid if around.session.spec.pattern == "Hybrid" else _lasting
    step = watched(around, live(around, settings, now, config), limits, now)
    return images.told(around, step, wanted, now)


def _halted(around: Around, step: Step, now: datetime) -> Step:
    """Return the step of a session that cannot go on, with what its host tells of the store and the mark of its pod."""
    before, news, host = around.session.status, around.news, around.session.status.host
    if host is None or news is None:
        return step
    status = with_stored(around, step.status, news, now)
    step = replace(step, status=status).saying(*_not_durable(before, status))
    own = next((one for one in around.pods if _is(one, host)), None)
    if own is None or own.is_terminal or own.deleting:
        return step
    intent = before.resolved.disruption if before.resolved is not None else None
    return replace(step, actions=ownpod.marks(around, own, status, cast("Mark", intent or DEFAULT_DISRUPTION)))


def _lasting(around: Around, settings: Settings, now: datetime, config: OperatorConfig) -> Step:
    """Have the session on a host of its pool."""
    pool, host = around.pool, around.session.status.host
    assert pool is not None  # the schema asks for one
    if host is None:
        return place(around, pool, now, config)
    around, pod = ending(around, now), around.pod(host.pod_uid)
    if pod is None:
        return lost(around, pool, host, settings.storage is not None, now, config)
    if pod.deleting and around.news is not None and around.news.put_away:
        # Its host stops, and has stored it: it need not wait for the turns of others there.
        told = with_figures(around.session.status, around.news)
        around = around.knowing(told)
        return lost(around, pool, host, settings.storage is not None, now, config)
    return _on_host(around, settings, pod, now, config)


def _hybrid(around: Around, settings: Settings, now: datetime, config: OperatorConfig) -> Step:
    """Have the session where it should be: nowhere while it sleeps, in its pool or in a pod of its own while not."""
    if problem := store_problem(settings.fields.session_store, config.embedded_store):
        return replace(_halted(around, blocked(around, Reason.STORE_REQUIRED, problem, now), now), requeue=LOOK_AGAIN)
    if problem := workspace_problem(settings):
        return _halted(around, blocked(around, Reason.INVALID_SPEC, problem, now), now)
    host = around.session.status.host
    own = next((one for one in around.pods if host is not None and _is(one, host)), None)
    ends = around.pool is None and (own is None or own.is_terminal or own.deleting)
    if host is None or (around.session.spec.suspended and not ends and _may_be_let_go(around, host)):
        return _at_rest(around, settings, now, config)
    if around.pool is not None:
        return _in_pool(around, settings, host, now, config)
    if own is None or ends:
        if own is not None and stopping.is_left_asleep(around, own):
            return stopping.asleep(around, own, now, config)
        if not around.session.spec.suspended:
            return ownpod.lost(around, settings, host, now, config)
        if own is not None:  # what its host still tells, and how it ends, is not to be missed
            return ownpod.ending(around, own, now)
        return _at_rest(ownpod.gone(around, host, now, rests=True), settings, now, config)
    if sleeping.is_in_vain(around, own, settings, now):
        return ownpod.leftovers(around, sleeping.in_vain(around, now), now)
    pod = around.pod(own.uid)
    if pod is None or not pod.ready:
        step = ownpod.starting(around, own, settings, now, config)
    else:
        step = _awake(around, _on_host(around, settings, pod, now, config), settings, pod, now, config)
    return step if step.status.host is None else ownpod.guarded(around, step, own, settings, now, config)


def _in_pool(around: Around, settings: Settings, host: Host, now: datetime, config: OperatorConfig) -> Step:
    """Have the session on its host; one that loses it is to be woken again, wherever there is room."""
    step, pod = _lasting(around, settings, now, config), around.pod(host.pod_uid)
    if step.status.host is None:
        return replace(step, status=step.status.model_copy(update={"answered_request_time": None}))
    return step if pod is None or step.placed else _awake(around, step, settings, pod, now, config)


def _awake(
    around: Around, step: Step, settings: Settings, pod: HostFacts, now: datetime, config: OperatorConfig
) -> Step:
    """The session's host is there: let it sleep when it was put away, else do what the step says; look at the time."""
    if around.heard and around.news is not None and around.news.put_away:
        if around.drains and around.pool is None:
            return stopping.awaited(around, step, pod, around.news, now)
        if around.drains and around.news.stopped_at_work and not around.session.spec.suspended:
            return step  # it goes on where its host begins anew, or elsewhere when that is gone
        return sleeping.fallen_asleep(around, step.status, around.news, now, config)
    if step.handover is None:
        step = sleeping.tired(around, step, settings, pod, now)
        return images.moved(around, step, settings, pod, now, config)
    if around.fork_problem:
        return _forkless(around, now)
    return step


def _at_rest(around: Around, settings: Settings, now: datetime, config: OperatorConfig) -> Step:
    """The session has no host: let it sleep, or wake it."""
    over = reached(around.limits, around.session.status.usage, now) is not None
    step = sleeping.sleeps(around, now, config, may_wake=not over)
    if step is not None:
        status = bounded(around, step.status, around.limits, now)
        step = replace(step, status=sleeping.timed(around, status, now))
        return sleeping.until_it_expires(around, ownpod.leftovers(around, step, now), settings, now)
    if around.fork_problem:
        return _forkless(around, now)
    if around.pool is not None:
        return sleeping.wake_in_pool(around, around.pool, now, config)
    step = ownpod.wake(around, settings, now, config)
    return replace(step, status=limit.anew(step.status))


def _forkless(around: Around, now: datetime) -> Step:
    """The session is to begin with a copy of what is not there: it must not begin without."""
    return replace(blocked(around, Reason.FORK_SOURCE_NOT_FOUND, around.fork_problem, now), requeue=LOOK_AGAIN)


def _is_held(around: Around) -> bool:
    """Return whether the session's host has taken it, as far as status says."""
    ready = around.session.status.condition(ConditionType.READY)
    return ready is not None and ready.reason in HELD


def _may_be_let_go(around: Around, host: Host) -> bool:
    """Return whether the host cannot have anything of the session that is nowhere else: it did not take it yet."""
    if _is_held(around):
        return False
    own = next((one for one in around.pods if _is(one, host)), None)
    if own is not None:
        return not may_have_the_session(around, own)
    pod = around.pod(host.pod_uid)
    begun = around.session.status.start_time is not None
    return pod is None or not begun or (pod.ready and _forgotten(around) and not pod.ends)


def _is(pod: PodFacts, host: Host) -> bool:
    """Return whether a pod is the one that status names; its uid is not known yet if a pass was cut short."""
    return pod.name == host.pod and host.pod_uid in (None, pod.uid)


def _settings(around: Around, config: OperatorConfig) -> Settings | None:
    """Return what the session runs with, or None while the pool's template cannot be had."""
    if around.template_problem:
        return None
    return resolve(around.session.spec, around.template, config.defaults, template_name=around.template_name)


def _on_host(around: Around, settings: Settings, pod: HostFacts, now: datetime, config: OperatorConfig) -> Step:
    """The session's pod is there: hand the session over if the host does not have it as it should, else follow it."""
    if not pod.ready and not pod.deleting:
        text = f"Host '{pod.name}' is not ready."
        return waiting(around, Reason.HOST_NOT_READY, text, now, LOOK_AGAIN)
    if not _must_be_given(around, settings):
        return _followed(around, settings, pod, now, config)
    if pod.deleting:
        text = f"Host '{pod.name}' stops; the session is given to what follows it."
        return waiting(around, Reason.HOST_NOT_READY, text, now, LOOK_AGAIN)
    status = around.session.status.model_copy(update={"resolved": describe(settings)})
    return Step(status, handover=Handover(pod, activation(around.session, settings, around.pool, around.fork_from)))


def _must_be_given(around: Around, settings: Settings) -> bool:
    """Return whether the host has to be told of the session: it never was, it forgot, or the settings changed."""
    status = around.session.status
    ready = status.condition(ConditionType.READY)
    if ready is None or ready.reason not in HELD or status.resolved is None:
        return True
    changed = status.resolved.template_hash != settings.hash
    return changed or _forgotten(around)


def _forgotten(around: Around) -> bool:
    """Return whether the host says that it does not have the session; a host not heard yet says nothing."""
    return around.heard and around.news is None


def _followed(around: Around, settings: Settings, pod: HostFacts, now: datetime, config: OperatorConfig) -> Step:
    """The host has the session: take over what it tells of it."""
    before = around.session.status
    news = around.news
    after = as_told(around, before, pod, news, now) if news else _unheard(around, before, pod, now)
    after = after.model_copy(update={"endpoint": endpoint(around.session, config), "resolved": describe(settings)})
    after = bounded(around, after, around.limits, now)
    status, wait = paced(before, after, around.written, now)
    notices = (*_not_durable(before, status), *(cut_short(before, status, news) if news else ()))
    return Step(status, notices, wait)


def _not_durable(before: AgentSessionStatus, after: AgentSessionStatus) -> tuple[Notice, ...]:
    """Return the event that tells that a transcript is not safe in the store any more."""
    known, found = before.condition(ConditionType.TRANSCRIPT_DURABLE), after.condition(ConditionType.TRANSCRIPT_DURABLE)
    if found is None or found.status != "False" or (known is not None and known.status == "False"):
        return ()
    return (Notice("Warning", found.reason, "Store", found.message),)


def as_told(
    around: Around, status: AgentSessionStatus, pod: HostFacts, news: HostSession, now: datetime
) -> AgentSessionStatus:
    """Return the status by the host's news."""
    status = outlived(with_figures(status, news), around.session.spec.backoff_limit)
    status = with_stored(around, status, news, now)
    if news.beginning is Beginning.RESUMED:
        # Also without a handover: a host that was started anew finds its sessions on its own disk.
        status = with_resumed(around, status, "True", Reason.TRANSCRIPT_FOUND, found_text(news), now)
    if news.phase is Phase.FAILED:  # of the process alone: what is known of the conversation holds, and is asked for
        text = f"The agent's process failed: {_fault(news)} The next message starts a new one."
        # A pass that was cut short has not written the pod's uid, without which nothing of its host is heard.
        status = status.model_copy(update={"host": at(pod, status.host)})
        return set_state(around, State.BLOCKED, Reason.CLI_FAILED, text, now, onto=status)
    return _running(around, status, pod, now, f"{_on(pod)} {last_words(news)}".rstrip())


def _unheard(around: Around, status: AgentSessionStatus, pod: HostFacts, now: datetime) -> AgentSessionStatus:
    """Return the status of a session whose host has told nothing yet: what it last told holds."""
    ready = status.condition(ConditionType.READY)
    if ready is not None and ready.reason in HELD and ready.reason != Reason.RUNNING:
        return set_state(around, State.BLOCKED, ready.reason, ready.message, now, onto=status)
    text = ready.message if ready is not None and ready.reason == Reason.RUNNING else _on(pod)
    return _running(around, outlived(status, around.session.spec.backoff_limit), pod, now, text)


def _on(pod: HostFacts) -> str:
    return f"The session is on host '{pod.name}'."


def found_text(news: HostSession) -> str:
    """Return what to say of a conversation that was found."""
    return f"The conversation was found and goes on.{CUT if news.interrupted else ''}"


def _fault(news: HostSession) -> str:
    """Return what the host says of a fault, as a sentence."""
    text = (news.fault.message if news.fault else "no reason given").rstrip(". ")
    return f"{text}."[:500]


def _running(
    around: Around, status: AgentSessionStatus, pod: HostFacts, now: datetime, text: str
) -> AgentSessionStatus:
    """Return the status of a session that its host has."""
    status = set_state(around, State.RUNNING, Reason.RUNNING, text, now, onto=status)
    update = {"host": at(pod, status.host), "start_time": status.start_time or now}
    return status.model_copy(update=update)
