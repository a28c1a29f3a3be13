"""The pod of a Hybrid session that has no pool: made when it wakes, followed while it starts, made again when lost."""

from dataclasses import replace
from datetime import datetime, timedelta

from agentsessions.api.conditions import Reason, State
from agentsessions.api.config import OperatorConfig
from agentsessions.api.names import pod_name
from agentsessions.api.status import AgentSessionStatus, Host, Termination
from agentsessions.builders.networkpolicy import network_policy, policy_label
from agentsessions.builders.ownhost import own_host_name, own_host_pod, own_host_secret
from agentsessions.builders.volumeclaim import volume_claim
from agentsessions.policies.facts import PodFacts
from agentsessions.policies.nodeloss import is_lost
from agentsessions.policies.resolve import Settings, describe
from agentsessions.policies.startup import PATIENCE, Diagnosis, diagnose
from agentsessions.reconcile.longrunning.figures import with_figures
from agentsessions.reconcile.longrunning.model import LOOK_AGAIN, Around, Step
from agentsessions.reconcile.longrunning.rows import set_state
from agentsessions.reconcile.longrunning.sleeping import awake
from agentsessions.reconcile.model import Action, DeletePod, Ensure, Notice, StartPod

_FIRST_PAUSE, _LAST_PAUSE = timedelta(seconds=2), timedelta(minutes=5)
_CALM = timedelta(minutes=10)
"""After so long without a loss, the next one is the first again."""


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
    if pod.is_terminal:
        told = _with_loss(told, Host(pod=pod.name, pod_uid=pod.uid, node=pod.node), pod.reason, pod.message, now)
    status = set_state(around, State.PROGRESSING, Reason.WAKING, text, now, onto=told)
    return Step(status, requeue=LOOK_AGAIN, actions=_without(around, now, but=""))


def leftovers(around: Around, step: Step, now: datetime) -> Step:
    """Return the step of a session that needs no pod, with the end of every pod that it still has."""
    actions = _without(around, now, but="")
    wait = LOOK_AGAIN if _others(around, but="") else step.requeue
    return Step(step.status, step.notices, wait, actions=actions)


def starting(around: Around, pod: PodFacts, settings: Settings, now: datetime) -> Step:
    """Say what a pod that does not serve yet is waiting for; one that never will is made anew when settings change."""
    found = _diagnosis(around, pod, settings)
    lost = around.session.status.condition("TranscriptDurable")
    keeps = pod.restarted and lost is not None and lost.status == "False"  # what is on its disk is nowhere else
    if found.state is State.BLOCKED and pod.template_hash != settings.hash and not keeps:
        return _remade(around, pod, now)
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
    if still := _others(around, but=""):
        return ending(around, still[0], now)
    text = f"Pod '{host.pod}' is gone; the session goes on in another."
    status = _with_loss(around.session.status, host, Reason.HOST_LOST, text, now)
    assert status.last_termination is not None
    pause = _pause(status.failures)
    left = (status.last_termination.finished_at or now) + pause - now
    if left > timedelta():
        text = f"Pod '{host.pod}' is gone; another one starts in {int(pause.total_seconds())} seconds."
        return Step(set_state(around, State.PROGRESSING, Reason.HOST_LOST, text, now, onto=status), requeue=left)
    step = wake(replace(around, session=around.session.model_copy(update={"status": status})), settings, now, config)
    status = step.status.model_copy(update={"restarts": status.restarts + 1})
    return Step(status, (Notice("Warning", Reason.HOST_LOST, "Move", text),), step.requeue, actions=step.actions)


def guarded(
    around: Around, step: Step, pod: PodFacts, settings: Settings, now: datetime, config: OperatorConfig
) -> Step:
    """Return the step with what must hold as long as the pod runs: its NetworkPolicy stands, and no other pod does."""
    policy = network_policy(around.session.metadata.namespace, settings, config, hosts=True)
    fence = (Ensure(policy, look=True),) if policy_label(policy) == pod.policy_label else ()
    return replace(step, actions=(*fence, *_without(around, now, but=pod.name), *step.actions))


def _diagnosis(around: Around, pod: PodFacts, settings: Settings) -> Diagnosis:
    if pod.waiting_reason == "CrashLoopBackOff":
        text = f"The host in pod '{pod.name}' ends as soon as it starts: see its log."
        return Diagnosis(State.BLOCKED, Reason.START_FAILED, text)
    return diagnose(pod, around.warnings, settings.fields.image or "")


def _remade(around: Around, pod: PodFacts, now: datetime) -> Step:
    """Let go of a pod that cannot start, now that there are other settings; the next one is made when it is gone."""
    text = f"Pod '{pod.name}' cannot start; it is made anew with the settings of now."
    status = set_state(around, State.PROGRESSING, Reason.WAKING, text, now)
    status = status.model_copy(update={"host": None, "answered_request_time": None})
    return Step(status, requeue=LOOK_AGAIN, actions=_without(around, now, but=""))


def _with_loss(status: AgentSessionStatus, host: Host, reason: str, text: str, now: datetime) -> AgentSessionStatus:
    """Return the status with the loss of a pod written down, once for each; losses close together add up."""
    before = status.last_termination
    if before is not None and before.pod == host.pod:
        return status
    close = before is not None and before.finished_at is not None and now - before.finished_at < _CALM
    ended = Termination(
        reason=reason or Reason.HOST_LOST,
        message=text,
        finished_at=now,
        pod=host.pod,
        pod_uid=host.pod_uid or "",
        node=host.node,
    )
    return status.model_copy(update={"last_termination": ended, "failures": status.failures + 1 if close else 1})


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
    """Keep what is known of the same pod: that it has a node by now is not worth a write of its own."""
    known = around.session.status.host
    same = known is not None and known.pod_uid == pod.uid
    return known if same and known is not None else Host(pod=pod.name, pod_uid=pod.uid, node=pod.node)


def _pause(losses: int) -> timedelta:
    """Return how long to wait before another pod: not at all at first, longer with every one that was lost."""
    return timedelta() if losses < 2 else min(_FIRST_PAUSE * (1 << min(16, losses - 2)), _LAST_PAUSE)
