"""The pod of a Hybrid session that has no pool: made when it wakes, followed while it starts, made again when lost."""

from datetime import datetime, timedelta

from agentsessions.api.conditions import Reason, State
from agentsessions.api.config import OperatorConfig
from agentsessions.api.names import pod_name
from agentsessions.api.status import Host
from agentsessions.builders.networkpolicy import network_policy, policy_label
from agentsessions.builders.ownhost import own_host_name, own_host_pod, own_host_secret
from agentsessions.builders.volumeclaim import volume_claim
from agentsessions.policies.facts import PodFacts
from agentsessions.policies.resolve import Settings, describe
from agentsessions.policies.startup import PATIENCE, diagnose
from agentsessions.reconcile.longrunning.figures import with_figures
from agentsessions.reconcile.longrunning.model import LOOK_AGAIN, Around, Step
from agentsessions.reconcile.longrunning.rows import set_state
from agentsessions.reconcile.longrunning.sleeping import awake
from agentsessions.reconcile.model import Action, DeletePod, Ensure, Notice, StartPod

_FIRST_PAUSE, _LAST_PAUSE = timedelta(seconds=2), timedelta(minutes=5)


def wake(around: Around, settings: Settings, now: datetime, config: OperatorConfig) -> Step:
    """Make the session's next pod, once those of earlier wakes are gone: two must never write one conversation."""
    session, before = around.session, around.session.status
    number = before.wakes + 1
    name = own_host_name(session, number)
    if earlier := _others(around, but=name):
        return ending(around, earlier[0], now)
    status = set_state(around, State.PROGRESSING, Reason.WAKING, f"Pod '{name}' is starting.", now)
    update = {"host": Host(pod=name), "resolved": describe(settings)}
    return Step(
        awake(around, status.model_copy(update=update)),
        requeue=PATIENCE + timedelta(seconds=1),
        actions=_children(around, settings, number, config),
    )


def ending(around: Around, pod: PodFacts, now: datetime) -> Step:
    """Wait for the end of a pod that has to be gone before the next one may start."""
    text = f"Pod '{pod.name}' is ending; the session goes on in another."
    news, status = around.news, around.session.status
    told = with_figures(status, news) if news is not None else status
    status = set_state(around, State.PROGRESSING, Reason.WAKING, text, now, onto=told)
    return Step(status, requeue=LOOK_AGAIN, actions=_without(around, but=""))


def leftovers(around: Around, step: Step) -> Step:
    """Return the step of a session that needs no pod, with the end of every pod that it still has."""
    return Step(step.status, step.notices, step.requeue, actions=_without(around, but=""), left=step.left)


def starting(around: Around, pod: PodFacts, settings: Settings, now: datetime) -> Step:
    """Say what a pod that does not serve yet is waiting for."""
    found = diagnose(pod, around.warnings, settings.fields.image or "")
    reason, text = str(found.reason), found.message
    if reason == Reason.STARTING:
        reason, text = Reason.WAKING, f"Pod '{pod.name}' is starting."
    status = set_state(around, found.state, reason, text, now)
    ready = around.session.status.condition("Ready")
    new = found.state is State.BLOCKED and (ready is None or ready.reason != reason)
    notices = (Notice("Warning", reason, "Start", text),) if new else ()
    wait = PATIENCE if now - pod.created < PATIENCE else LOOK_AGAIN
    return Step(status.model_copy(update={"host": _host(around, pod)}), notices, wait)


def lost(around: Around, settings: Settings, host: Host, now: datetime, config: OperatorConfig) -> Step:
    """The pod is gone, or will not run again: another one takes the session up; with pauses if that happens often."""
    before = around.session.status
    if still := _others(around, but=""):
        return ending(around, still[0], now)
    pause = _pause(before.restarts)
    ready = before.condition("Ready")
    since = now - ready.last_transition_time if ready is not None else pause
    gone_before = ready is not None and ready.reason == Reason.HOST_LOST
    if gone_before and since < pause:
        return Step(before, requeue=pause - since)
    if not gone_before and pause > _FIRST_PAUSE:
        text = f"Pod '{host.pod}' is gone; another one starts in {int(pause.total_seconds())} seconds."
        return Step(set_state(around, State.PROGRESSING, Reason.HOST_LOST, text, now), requeue=pause)
    step = wake(around, settings, now, config)
    status = step.status.model_copy(update={"restarts": before.restarts + 1})
    text = f"Pod '{host.pod}' is gone; the session goes on in another."
    return Step(status, (Notice("Warning", Reason.HOST_LOST, "Move", text),), step.requeue, actions=step.actions)


def _children(around: Around, settings: Settings, number: int, config: OperatorConfig) -> tuple[Action, ...]:
    """Return the actions that make everything that a pod needs, in the order in which they need each other."""
    session = around.session
    policy = network_policy(session.metadata.namespace, settings, config, hosts=True)
    secret = own_host_secret(session, settings, config)
    claim = volume_claim(session, settings)
    pod = own_host_pod(session, settings, number, secret["metadata"]["name"], policy_label(policy), config)
    first: list[Action] = [Ensure(policy, look=True)]
    if claim is not None:
        first.append(Ensure(claim, look=True))
    return (*first, Ensure(secret), StartPod(pod))


def _without(around: Around, *, but: str) -> tuple[Action, ...]:
    """Return the deletions of the session's own pods, all but one."""
    namespace = around.session.metadata.namespace
    return tuple(DeletePod(pod, namespace) for pod in _others(around, but=but) if not pod.deleting)


def _others(around: Around, *, but: str) -> list[PodFacts]:
    """Return the session's own pods that are still there, all but one."""
    meta = around.session.metadata
    ours = [pod for pod in around.pods if pod.owner_uid == meta.uid and pod.name != but]
    return [pod for pod in ours if pod.name == pod_name(meta.name, meta.uid, pod.attempt)]


def _host(around: Around, pod: PodFacts) -> Host:
    """Keep what is known of the same pod: that it has a node by now is not worth a write of its own."""
    known = around.session.status.host
    same = known is not None and known.pod_uid == pod.uid
    return known if same and known is not None else Host(pod=pod.name, pod_uid=pod.uid, node=pod.node)


def _pause(restarts: int) -> timedelta:
    """Return how long to wait before another pod: not at all at first, longer with every one that was lost."""
    return min(_FIRST_PAUSE * (1 << min(16, max(0, restarts - 2))), _LAST_PAUSE)
