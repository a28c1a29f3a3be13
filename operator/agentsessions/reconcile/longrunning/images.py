"""Which image a session's own pod runs: its settings', or the former one where that does not start; pure.

A session that is awake in another image than its settings name is moved between turns: put away, and woken by its next
message. One whose new image does not start wakes in the image that it last ran in.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from agentsessions.api.conditions import ConditionType, Reason, condition_for
from agentsessions.api.config import OperatorConfig
from agentsessions.api.rollout import SessionRollout
from agentsessions.api.status import AgentSessionStatus
from agentsessions.policies.deadline import time_to_start
from agentsessions.policies.facts import PodFacts
from agentsessions.policies.hosts import HostFacts
from agentsessions.policies.resolve import Settings, with_image
from agentsessions.policies.startup import Diagnosis
from agentsessions.reconcile.longrunning import limit
from agentsessions.reconcile.longrunning.model import Around, PutAway, Step
from agentsessions.reconcile.longrunning.sleeping import could_not_just_now
from agentsessions.reconcile.model import Notice

_ENDS = 3
"""So often may the container of a new image end before it serves."""
_TRY_AGAIN = timedelta(hours=1)
"""So long after an image failed a wake tries it again: it may have been its registry, which is not away for good."""


def chosen(around: Around, settings: Settings) -> Settings:
    """Return the settings with the former image in place of one that is known not to start."""
    rollout = around.session.status.rollout
    if rollout is None or rollout.current_image is None or rollout.failed_image != settings.fields.image:
        return settings
    return with_image(settings, rollout.current_image)


def is_tried_again(around: Around, now: datetime) -> bool:
    """Return whether a wake of now tries again what failed; a session that is awake is not disturbed for that."""
    failed = around.session.status.condition(ConditionType.PROGRESSING)
    rests = around.session.status.host is None
    return rests and failed is not None and now - failed.last_transition_time >= _TRY_AGAIN


def time_left(
    around: Around, pod: PodFacts, settings: Settings, found: Diagnosis, now: datetime, config: OperatorConfig
) -> timedelta | None:
    """Return how long a pod that does not start may still try; None: as long as it likes, there is nothing to go to."""
    host, rollout = around.pod(pod.uid), around.session.status.rollout
    if host is None or rollout is None or host.image != settings.fields.image:
        return None
    if rollout.current_image in (None, host.image):
        return None
    blamed = min(host.ends, around.session.status.failures)  # others were the node's doing, or of pods before
    if blamed >= _ENDS or limit.is_over(around):
        return timedelta()
    if found.reason != Reason.IMAGE_PULL_FAILED:
        return None
    patience = timedelta(seconds=config.rollout.fallback_seconds) - around.cannot_pull_for
    start = time_to_start(pod, settings.start_deadline, now)
    return max(timedelta(), patience if start is None else min(patience, start))


def given_up(status: AgentSessionStatus, settings: Settings, found: Diagnosis) -> Step:
    """Return the status of a session whose image is not tried again for a while, and the event that tells of it."""
    rollout = (status.rollout or SessionRollout()).model_copy(
        update={"failed_image": settings.fields.image, "message": found.message[:900]}
    )
    notice = Notice("Warning", Reason.ROLLED_BACK, "Rollout", _words(rollout))
    return Step(status.model_copy(update={"rollout": rollout}), (notice,))


def told(around: Around, step: Step, settings: Settings, now: datetime) -> Step:
    """Return the step with what status says of images: the one that serves, and the one of `settings` that did not."""
    if not around.session.has_own_pod:
        return step
    rollout = step.status.rollout or _before(around, step)
    host = step.status.host
    pod = around.pod(host.pod_uid) if host is not None else None
    if pod is not None and pod.ready and pod.image:
        rollout = rollout.model_copy(update={"current_image": pod.image})
    anew = rollout.failed_image != settings.fields.image or (host is not None and is_tried_again(around, now))
    if rollout.failed_image is not None and anew:
        rollout = rollout.model_copy(update={"failed_image": None, "message": None})
    kept = rollout if rollout != SessionRollout() else None
    return replace(step, status=_with_condition(around, step.status.model_copy(update={"rollout": kept}), now))


def _before(around: Around, step: Step) -> SessionRollout:
    """Return what is known of images when nobody has written any of it: of one that wakes, what it last ran with.

    An operator that kept no account of images put it to sleep. One that has no conversation never ran.
    """
    status = around.session.status
    wakes = status.host is None and step.status.host is not None
    if not wakes or status.transcript is None or status.resolved is None:
        return SessionRollout()
    return SessionRollout(current_image=status.resolved.image)


def moved(
    around: Around, step: Step, settings: Settings, pod: HostFacts, now: datetime, config: OperatorConfig
) -> Step:
    """Return the step with the putting away of a session that is idle in another image than it should have."""
    news = around.news
    if not _is_outdated(around, settings, pod) or config.rollout.paused or step.put_away is not None:
        return step
    if news is None or not around.heard or news.idle_since is None or news.durable is not True:
        return step  # in a turn, or followed by somebody; or the store lacks something
    if could_not_just_now(news, now):
        return step
    return replace(step, put_away=PutAway(pod, patient=False, moves=True))


def _is_outdated(around: Around, settings: Settings, pod: HostFacts) -> bool:
    """Return whether the session's own pod may be given up since it was made with another image.

    Somebody's webhook may have put another registry into a pod that was made with this one: its hash says that it was.
    """
    mine = around.session.has_own_pod and settings.disruption != "Never"
    return mine and pod.template_hash != settings.hash and pod.image not in ("", settings.fields.image)


def _with_condition(around: Around, status: AgentSessionStatus, now: datetime) -> AgentSessionStatus:
    """Return the status with Progressing=False as long as the session cannot have the image of its settings."""
    others = [one for one in status.conditions if one.type != ConditionType.PROGRESSING]
    if status.rollout is None or status.rollout.failed_image is None:
        return status.model_copy(update={"conditions": others})
    made = condition_for(
        ConditionType.PROGRESSING,
        "False",
        Reason.ROLLED_BACK,
        _words(status.rollout),
        previous=around.session.status.conditions,
        generation=around.session.metadata.generation,
        now=now,
    )
    return status.model_copy(update={"conditions": [*others, made]})


def _words(rollout: SessionRollout) -> str:
    """Return what to say of an image that does not start."""
    then = (
        f"The session runs in its former image '{rollout.current_image}' until the settings name another one, or it is "
        "tried again: by a message that finds the session asleep, an hour later at the earliest."
    )
    return f"Image '{rollout.failed_image}' did not start: {rollout.message} {then}"
