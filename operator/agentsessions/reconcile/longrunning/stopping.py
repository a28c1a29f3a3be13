"""A pod of a session's own that its node ends, with nobody having deleted it: the session sleeps, and tells why; pure.

The host stores a session that has nothing to do and says so before the kubelet says anything at all. What only the
kubelet knows (a disk that is full, a node under pressure, a probe that failed) comes with the end of the pod, or of its
container: the session is let go of then, and not before.
"""

from datetime import datetime

from agentsessions.api.conditions import Reason
from agentsessions.api.config import OperatorConfig
from agentsessions.api.host import HostSession
from agentsessions.policies.facts import PodFacts
from agentsessions.policies.hosts import HostFacts
from agentsessions.reconcile.longrunning import limit, sleeping
from agentsessions.reconcile.longrunning.figures import with_figures, with_last_words
from agentsessions.reconcile.longrunning.model import LOOK_AGAIN, Around, Step
from agentsessions.reconcile.longrunning.restarts import judged, with_loss
from agentsessions.reconcile.longrunning.rows import waiting
from agentsessions.reconcile.model import Notice


def awaited(around: Around, step: Step, pod: HostFacts, news: HostSession, now: datetime) -> Step:
    """Wait until the kubelet says how the pod ends, or that the host begins anew."""
    text = f"Host '{pod.name}' stops, and has stored the session; how it ends is for its node to say."
    told = with_figures(step.status, news)
    return waiting(around, Reason.HOST_NOT_READY, text, now, LOOK_AGAIN, onto=told).saying(*step.notices)


def is_left_asleep(around: Around, pod: PodFacts) -> bool:
    """Return whether the pod has ended with all of the session stored, nothing to go on with, and nobody waiting."""
    news, status = around.news, around.session.status
    stored = around.drains and news is not None and news.put_away and not news.stopped_at_work
    over = pod.is_terminal and not pod.deleting
    return stored and over and not sleeping.is_asked_for(status) and not around.session.spec.suspended


def asleep(around: Around, pod: PodFacts, now: datetime, config: OperatorConfig) -> Step:
    """Write down how the pod ended, and let the session sleep: a node that wants for something gets no pod more."""
    news = around.news
    assert news is not None
    host, verdict = judged(pod, around.session.metadata.uid)
    told = with_last_words(around.session.status, news)
    status = with_loss(told, host, verdict, now, end=pod.ended)
    around = around.knowing(status)
    notice = Notice("Warning", verdict.reason, "Sleep", verdict.message)
    if limit.is_over(around):
        return limit.stopped(around, now, keeps_pod=False).saying(notice)
    return sleeping.fallen_asleep(around, status, news, now, config).saying(notice)
