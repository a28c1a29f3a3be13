"""The pod of a Hybrid session that has no pool: made when it wakes, followed while it starts, made again when lost."""

from dataclasses import replace
from datetime import datetime, timedelta

from agentsessions.api.conditions import Reason, State
from agentsessions.api.config import OperatorConfig
from agentsessions.api.names import pod_name
from agentsessions.api.status import AgentSessionStatus, Host, Queue
from agentsessions.builders.disruption import HELD, Mark
from agentsessions.builders.networkpolicy import network_policy, policy_label
from agentsessions.builders.ownhost import own_host_name, own_host_pod, own_host_secret
from agentsessions.builders.volumeclaim import volume_claim
from agentsessions.policies.deadline import time_to_start, too_late
from agentsessions.policies.facts import PodFacts
from agentsessions.policies.nodeloss import is_lost
from agentsessions.policies.outcome import Verdict
from agentsessions.policies.queueing import look_again, words
from agentsessions.policies.resolve import Settings, describe
from agentsessions.policies.restart import doubled, jittered
from agentsessions.policies.startup import PATIENCE, Diagnosis, diagnose
from agentsessions.reconcile.disruption import shelter, sheltered
from agentsessions.reconcile.longrunning import images, limit
from agentsessions.reconcile.longrunning.figures import with_figures
from agentsessions.reconcile.longrunning.lastcopy import keeps_drains_away, may_have_the_last_copy
from agentsessions.reconcile.longrunning.model import LOOK_AGAIN, Around, Step
from agentsessions.reconcile.longrunning.restarts import judged, tells_of, with_loss
from agentsessions.reconcile.longrunning.rows import set_state
from agentsessions.reconcile.longrunning.sleeping import awake, given_up
from agentsessions.reconcile.model import Action, DeletePod, Ensure, Need, Notice, StartPod

_AS_IT_WAS = (
    "It keeps the settings that it was made with, since what is on its disk is nowhere else. "
    "Delete the pod to go on with the settings of now, and without that."
)
_FIRST_PAUSE, _LAST_PAUSE = timedelta(seconds=2), timedelta(minutes=5)


def wake(around: Around, settings: Settings, now: datetime, config: OperatorConfig) -> Step:
    """Make the session's next pod, once those of earlier wakes are gone: two must never write one conversation."""
    session, before = around.session, around.session.status
    number = before.wakes + 1
    name = own_host_name(session, number)
    if earlier := _others(around, but=name):
        return ending(around, earlier[0], now)
    status = set_state(around, State.PROGRESSING, Reason.WAKING, f"Pod '{name}' is starting.", now)
    update = {"host": Host(pod=name, terminations=0), "resolved": describe(settings)}
    return Step(
        awake(around, status.model_copy(update=update)),
        requeue=PATIENCE + timedelta(seconds=1),
        actions=_children(around, settings, number, config),
        need=Need(name, settings.fields.priority or 0),
    )


def queued(around: Around, step: Step, queue: Queue, now: datetime) -> Step:
    """Return what is left of a step that makes a pod while it is not the session's turn: neither pod nor wake."""
    status = set_state(around, State.PROGRESSING, Reason.QUEUED, words(queue), now, onto=unmade(around, step.status))
    return Step(status.model_copy(update={"queue": queue}), requeue=look_again(queue.position))


def unmade(around: Around, status: AgentSessionStatus) -> AgentSessionStatus:
    """Return the status of a step that was to make a pod, without that pod; the loss of the one before stays told."""
    kept = ("host", "resolved", "wakes", "restarts", "answered_request_time")
    return status.model_copy(update={name: getattr(around.session.status, name) for name in kept})


def ending(around: Around, pod: PodFacts, now: datetime) -> Step:
    """Wait for the end of a pod that has to be gone before the next one may start, or the session rests."""
    rests = around.session.spec.suspended
    text = f"Pod '{pod.name}' is ending; the session {'is suspended then' if rests else 'goes on in another'}."
    reason = Reason.HOST_NOT_READY if rests else Reason.WAKING
    news, status = around.news, around.session.status
    told = with_figures(status, news) if news is not None else status
    given_up, notices = is_lost(pod, now), list[Notice]()
    if status.host is not None and status.host.pod == pod.name and (pod.is_terminal or pod.disrupted or given_up):
        host, verdict = judged(pod, around.session.metadata.uid, lost=given_up)
        if rests and not tells_of(status.last_termination, status.host):  # else the next pod comes with an event
            notices.append(Notice("Warning", verdict.reason, "Suspend", verdict.message))
        told = with_loss(told, host, verdict, now, end=pod.ended)
    status = set_state(around, State.PROGRESSING, reason, text, now, onto=told)
    return Step(status, tuple(notices), LOOK_AGAIN, actions=_without(around, now, but=""))


def leftovers(around: Around, step: Step, now: datetime) -> Step:
    """Return the step of a session that needs no pod, with the end of every pod that it still has."""
    actions = _without(around, now, but="")
    wait = LOOK_AGAIN if _others(around, but="") else step.requeue
    return Step(step.status, step.notices, wait, actions=actions)


def starting(around: Around, pod: PodFacts, settings: Settings, now: datetime, config: OperatorConfig) -> Step:
    """Say what a pod that does not serve yet is waiting for, as long as it may; in vain, another one is made."""
    found = _diagnosis(around, pod, settings)
    left = images.time_left(around, pod, settings, found, now, config)
    if left == timedelta() and not may_have_the_last_copy(around, pod, settings):
        return _without_image(around, pod, settings, found, now)
    if not left:  # nothing to go back to, or too much to lose
        return _starting(around, pod, settings, found, now)
    # It goes back by itself: who waits for the session goes on waiting.
    text = f"{found.message} The session goes back to its former image if that lasts."
    passing = Diagnosis(State.PROGRESSING, Reason.WAKING, text)
    return _starting(around, pod, settings, passing, now).within(left)


def _without_image(around: Around, pod: PodFacts, settings: Settings, found: Diagnosis, now: datetime) -> Step:
    """Let go of a pod whose image does not start: the next one has the image that the session last ran in."""
    step = _remade(around, pod, now)
    given_up = images.given_up(step.status, settings, found)
    return replace(step, status=given_up.status, notices=given_up.notices)


def _starting(around: Around, pod: PodFacts, settings: Settings, found: Diagnosis, now: datetime) -> Step:
    """Say what a pod waits for; one that never will start is made anew when settings change."""
    if limit.is_over(around):
        return limit.stopped(around, now, keeps_pod=may_have_the_last_copy(around, pod, settings))
    stuck = found.state is State.BLOCKED or found.reason == Reason.BACK_OFF
    if stuck and pod.template_hash != settings.hash:
        if not may_have_the_last_copy(around, pod, settings):
            return _remade(around, pod, now)
        found = replace(found, message=f"{found.message} {_AS_IT_WAS}")
    left = time_to_start(pod, settings.start_deadline, now)
    if left is not None and left <= timedelta():
        return _too_late(around, settings, found, now)
    reason, text = str(found.reason), found.message
    if reason == Reason.STARTING and around.drains and (around.heard or pod.ended is not None):
        reason, text = Reason.HOST_NOT_READY, f"Host '{pod.name}' stops; how it ends is for its node to say."
    elif reason == Reason.STARTING:
        reason, text = Reason.WAKING, f"Pod '{pod.name}' is starting."
    status = set_state(around, found.state, reason, text, now)
    ready = around.session.status.condition("Ready")
    new = found.state is State.BLOCKED and (ready is None or ready.reason != reason)
    notices = (Notice("Warning", reason, "Start", text),) if new else ()
    wait = PATIENCE if now - pod.created < PATIENCE else LOOK_AGAIN
    wait = wait if left is None else min(wait, left)
    return Step(status.model_copy(update={"host": _host(around, pod)}), notices, wait)


def lost(around: Around, settings: Settings, host: Host, now: datetime, config: OperatorConfig) -> Step:
    """The pod is gone, or will not run again: another one takes the session up; with pauses if that happens often."""
    if still := _others(around, but=""):
        return ending(around, still[0], now)
    text = f"Pod '{host.pod}' is gone; the session goes on in another."
    around = gone(around, host, now)
    status = around.session.status
    assert status.last_termination is not None
    if limit.is_over(around):
        return limit.stopped(around, now, keeps_pod=False)
    pause = _pause(around, status.failures + status.disruptions)
    # A node's clock may be ahead.
    left = min((status.last_termination.finished_at or now) + pause - now, pause)
    if left > timedelta():
        text = f"Pod '{host.pod}' is gone; another one starts in {int(pause.total_seconds())} seconds."
        return Step(set_state(around, State.PROGRESSING, Reason.HOST_LOST, text, now, onto=status), requeue=left)
    step = wake(around, settings, now, config)
    status = step.status.model_copy(update={"restarts": status.restarts + 1})
    return replace(step, status=status, notices=(Notice("Warning", Reason.HOST_LOST, "Move", text),))


def gone(around: Around, host: Host, now: datetime, *, rests: bool = False) -> Around:
    """Return what is known with the loss of the pod written down, once; a session that `rests` sleeps from now on."""
    text = f"Pod '{host.pod}' is gone; the session {'is suspended' if rests else 'goes on in another'}."
    verdict, last = Verdict(False, Reason.HOST_LOST, text, retryable=True, counts=False), around.host_pod
    if last is not None:  # it was gone before anybody looked, and has said how it ended
        host, verdict = judged(last, around.session.metadata.uid)
    status = with_loss(around.session.status, host, verdict, now, end=last.ended if last is not None else None)
    status = status.model_copy(update={"suspend_time": now}) if rests else status
    return around.knowing(status)


def guarded(
    around: Around, step: Step, pod: PodFacts, settings: Settings, now: datetime, config: OperatorConfig
) -> Step:
    """Return the step with what must hold as long as the pod runs: policy and budget stand, and no other pod does."""
    namespace = around.session.metadata.namespace
    policy = network_policy(namespace, settings, config, hosts=True)
    fence: tuple[Action, ...] = (Ensure(policy, look=True),) if policy_label(policy) == pod.policy_label else ()
    fence = (*fence, *marks(around, pod, step.status, settings.disruption))
    return replace(step, actions=(*fence, *_without(around, now, but=pod.name), *step.actions))


def marks(around: Around, pod: PodFacts, status: AgentSessionStatus, intent: Mark) -> tuple[Action, ...]:
    """Return what has drains find the pod's mark: its intent, or that it is held."""
    held = keeps_drains_away(around, pod, status)
    return sheltered(pod, around.session.metadata.namespace, HELD if held else intent)


def _diagnosis(around: Around, pod: PodFacts, settings: Settings) -> Diagnosis:
    if pod.waiting_reason == "CrashLoopBackOff":
        last = around.session.status.last_termination
        text = f"{last.message if last else ''} The node starts the container again after a pause.".strip()
        return Diagnosis(State.PROGRESSING, Reason.BACK_OFF, text)
    return diagnose(pod, around.warnings, settings.fields.image or "")


def _too_late(around: Around, settings: Settings, found: Diagnosis, now: datetime) -> Step:
    """Let go of a pod that did not start in time; the next message tries again."""
    text = too_late(settings.start_deadline or 0, found.message)
    return leftovers(around, given_up(around, Reason.START_DEADLINE_EXCEEDED, text, now), now)


def _remade(around: Around, pod: PodFacts, now: datetime) -> Step:
    """Let go of a pod that cannot start, now that there are other settings; the next one is made when it is gone."""
    text = f"Pod '{pod.name}' cannot start; it is made anew with the settings of now."
    status = set_state(around, State.PROGRESSING, Reason.WAKING, text, now)
    status = status.model_copy(update={"host": None, "answered_request_time": None})
    return Step(status, requeue=LOOK_AGAIN, actions=_without(around, now, but=""))


def _children(around: Around, settings: Settings, number: int, config: OperatorConfig) -> tuple[Action, ...]:
    """Return the actions that make everything that a pod needs, in the order in which they need each other."""
    session = around.session
    policy = network_policy(session.metadata.namespace, settings, config, hosts=True)
    secret = own_host_secret(session, settings, config)
    claim = volume_claim(session, settings)
    pod = own_host_pod(session, settings, number, secret["metadata"]["name"], policy_label(policy), config)
    first: list[Action] = [Ensure(policy, look=True), *shelter(session.metadata.namespace, settings.disruption)]
    if claim is not None:
        first.append(Ensure(claim, look=True))
    return (*first, Ensure(secret), StartPod(pod))


def _without(around: Around, now: datetime, *, but: str) -> tuple[Action, ...]:
    """Return the deletions of the session's own pods, all but one; of one that was lost with its node, without word."""
    namespace = around.session.metadata.namespace
    others = _others(around, but=but)
    return tuple(
        DeletePod(pod, namespace, lost=is_lost(pod, now)) for pod in others if not pod.deleting or is_lost(pod, now)
    )


def _others(around: Around, *, but: str) -> list[PodFacts]:
    """Return the session's own pods that are still there, all but one."""
    meta = around.session.metadata
    ours = [pod for pod in around.pods if pod.owner_uid == meta.uid and pod.name != but]
    return [pod for pod in ours if pod.name == pod_name(meta.name, meta.uid, pod.attempt)]


def _host(around: Around, pod: PodFacts) -> Host:
    """Keep what is known of the same pod; its node comes to that when the session runs there, and says that it did."""
    known = around.session.status.host
    assert known is not None  # it names this pod
    return known.model_copy(update={"pod_uid": pod.uid})


def _pause(around: Around, losses: int) -> timedelta:
    """Return how long to wait before another pod: not at all at first, longer with every one that was lost."""
    if losses < 2:
        return timedelta()
    pause = doubled(_FIRST_PAUSE, losses - 2, _LAST_PAUSE)
    return jittered(pause, f"{around.session.metadata.uid} {losses}")
