"""What events tell of a pod that is gone, and that nobody has heard end: they outlive it by an hour. Pure."""

from collections.abc import Sequence
from datetime import datetime

from agentsessions.api.base import Json
from agentsessions.api.status import Host
from agentsessions.policies.facts import BY_TAINT_MANAGER, PodFacts

_BY_KUBELET, _BY_TAINT, _CUT_OFF = "Evicted", "TaintManagerEviction", "NodeNotReady"
_EVICTIONS = {_BY_KUBELET: "", "Preempting": "", "Preempted": "", _BY_TAINT: "Marking for deletion"}
"""Reasons of events by which a kubelet (twice), a scheduler and the taint manager say that they put an end to a pod,
with how their messages begin: the taint manager says by the same reason that it will not, after all
(https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/tainteviction/taint_eviction.go).
An eviction by the API posts none."""


def as_told(host: Host, events: Sequence[Json]) -> PodFacts | None:
    """Return the pod of a session's host as these events have it end; None if none of them puts an end to it.

    The last one counts, but for the kubelet's evictions: what they have ended stays until somebody deletes it.
    The taint manager also ends pods of nodes that are not heard of, but those are said to be not ready before. Its
    events name a pod and no uid: whoever asks by name has to know that one pod alone has had that name. `created` is
    when the event was posted, since when the pod was made is not known.
    """
    told = [one for one in events if _is_about(one, host)]
    found = max(filter(_ends, told), key=lambda one: (one["reason"] == _BY_KUBELET, last_seen(one)), default=None)
    if found is None:
        return None
    reason, message = found["reason"], found.get("message", "")
    return PodFacts(
        name=host.pod,
        uid=host.pod_uid or "",
        resource_version="",
        attempt=-1,
        phase="Failed",
        created=datetime.fromisoformat(last_seen(found)),
        node=host.node,
        reason="Evicted",
        message=message if reason == _BY_KUBELET else f"{reason}: {message}",
        disrupted_by=BY_TAINT_MANAGER if reason == _BY_TAINT else "",
        cut_off=any(one.get("reason") == _CUT_OFF for one in told),
    )


def last_seen(event: Json) -> str:
    """Return when an event was last seen, in RFC 3339."""
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")


def _ends(event: Json) -> bool:
    """Return whether an event says that somebody puts an end to a pod."""
    begins = _EVICTIONS.get(event.get("reason", ""))
    return begins is not None and event.get("message", "").startswith(begins)


def _is_about(event: Json, host: Host) -> bool:
    """Return whether an event is about that very pod, as far as it says."""
    uid = event["involvedObject"].get("uid")
    return not uid or host.pod_uid in (None, uid)
