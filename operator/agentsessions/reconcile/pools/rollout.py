"""How a pool goes over to other settings: when that is held, when it has failed, and what is taken back; pure.

One host after another is the StatefulSet's business. Here is decided which template it has and from which host on.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from agentsessions.api.base import Json
from agentsessions.api.conditions import Reason
from agentsessions.api.host import START_SECONDS
from agentsessions.api.names import ANNOTATION_TEMPLATE_HASH
from agentsessions.api.rollout import PoolRolloutStatus
from agentsessions.policies.hosts import HostFacts
from agentsessions.reconcile.model import Notice
from agentsessions.reconcile.pools.model import PoolSeen

_ENDS = 3
"""So often may the container of a new host end before that is no accident."""
_HUNG = timedelta(seconds=2 * START_SECONDS)
"""A life that is shorter was none: the node ends a host that does not start, and kills it if it does not hear that."""
_CALM = timedelta(seconds=30)
"""So long serves a host whose container has ended before, until it counts as one that serves."""
_PROBATION = timedelta(hours=1)
"""So long after a rollout a crash loop is held against it: a host may serve until its first session comes."""

_OFTEN = timedelta(minutes=10)
"""So often at least ends a crash loop: its back-off is five minutes at most, and begins anew after ten of calm."""


@dataclass(frozen=True, slots=True)
class Course:
    """The StatefulSet as it shall be, what status says of the rollout, what to tell, and when its next host is late.

    `first_written`: status has to say what hosts have now before they get anything else, or there were no way back.
    """

    made: Json
    status: PoolRolloutStatus
    notices: tuple[Notice, ...] = ()
    left: timedelta | None = None
    first_written: bool = False


def template_hash(template: Json) -> str:
    """Return the hash of the settings that a pod template was made from."""
    return str(template.get("metadata", {}).get("annotations", {}).get(ANNOTATION_TEMPLATE_HASH, ""))


def roll(seen: PoolSeen, wanted: Json, now: datetime) -> Course:
    """Return how to go on towards the StatefulSet that is `wanted`."""
    target, before = template_hash(wanted["spec"]["template"]), seen.pool.status.rollout or PoolRolloutStatus()
    judged = _on_probation(before, target, now)
    failed, message = _failure(seen, target, judged, now)
    made = _steered(seen, wanted, judged.current_revision, failed=failed)
    if failed:
        before = judged
    current = template_hash(made["spec"]["template"])
    if not _is_through(seen.hosts, current, made["spec"]["replicas"], now):
        current = before.current_revision or _served_with(seen, target, now)
    if current == target:
        failed, message = False, ""
    since, previous = before.current_since, before.previous_revision
    if before.current_revision not in (None, current):
        since, previous = now, _previous(before, target, current)
    status = PoolRolloutStatus(
        current_revision=current or None,
        current_since=since,
        previous_revision=previous,
        target_revision=target,
        failed_revision=target if failed else None,
        message=message or None,
    )
    if failed and before.failed_revision != target:
        reason, text = failure(status, template_hash(made["spec"]["template"]))
        return Course(made, status, (Notice("Warning", reason, "Rollout", text),))
    first_written = before.current_revision is None and current not in ("", target)
    left = None if failed else _left(seen, target, judged, now)
    return Course(made, status, left=left, first_written=first_written)


def _previous(before: PoolRolloutStatus, target: str, current: str) -> str | None:
    """Return what a rollout that is through now can be taken back to; None: to nothing.

    Settings that have failed once and serve after all would fail and serve in turns for ever. And who goes back to what
    was there before does so on purpose.
    """
    known = before.failed_revision == target or current == before.previous_revision
    return None if known else before.current_revision


def failure(status: PoolRolloutStatus, present: str) -> tuple[Reason, str]:
    """Return reason and message of a rollout that failed, by the settings that hosts are made from at `present`."""
    if status.failed_revision == present:
        then = "No further host is replaced until the template or the pool changes."
        return Reason.PROGRESS_DEADLINE_EXCEEDED, f"{status.message} {then}"
    then = "Hosts have their former settings again until the template or the pool changes."
    return Reason.ROLLED_BACK, f"{status.message} {then}"


def _failure(seen: PoolSeen, target: str, before: PoolRolloutStatus, now: datetime) -> tuple[bool, str]:
    """Return whether the rollout to these settings has failed, and by what; a pause has them tried again."""
    if seen.pool.spec.rolling.paused:
        return False, ""
    if before.failed_revision == target:
        return True, before.message or ""
    if seen.waits_for_news:
        return False, ""  # nothing could be taken back in this pass
    left = _left(seen, target, before, now)
    if left is None or left > timedelta():
        return False, ""
    late = min(_late(seen, target, before, now), key=lambda one: one[0])[1]
    seconds, how, why = seen.pool.spec.rolling.progress_deadline_seconds, "was not", "."
    if _loops(seen, late, now):
        how, why = "did not stay", f": its container ended {late.ends} times."
    if seen.trouble is not None:
        why = f": {seen.trouble.message}"
    return True, f"Host '{late.name}' {how} ready within {seconds} seconds{why}"[:900]


def way_back(rollout: PoolRolloutStatus | None, now: datetime) -> str | None:
    """Return the settings that a rollout which fails now is taken back to."""
    return _on_probation(rollout, rollout.target_revision or "", now).current_revision if rollout is not None else None


def _on_probation(before: PoolRolloutStatus, target: str, now: datetime) -> PoolRolloutStatus:
    """Return the account of a rollout that was through a while ago as if it were not yet; any other as it is."""
    recent = before.current_since is not None and now - before.current_since < _PROBATION
    if before.previous_revision is None or before.current_revision != target or not recent:
        return before
    update = {"current_revision": before.previous_revision, "previous_revision": None, "current_since": None}
    return before.model_copy(update=update)


def _late(seen: PoolSeen, target: str, before: PoolRolloutStatus, now: datetime) -> list[tuple[datetime, HostFacts]]:
    """Return the hosts that were made from these settings and do not serve, with the time since when they should."""
    hosts = [one for one in seen.hosts if one.template_hash == target and not one.deleting]
    told = seen.pool.status.rollout
    if (
        told is not None
        and told.current_since is not None
        and told.current_revision == target != before.current_revision
    ):
        return _late_again(seen, hosts, told.current_since, now)
    return [(since, one) for one in hosts if (since := _unserved_since(seen, one, now)) is not None]


def _late_again(
    seen: PoolSeen, hosts: list[HostFacts], through: datetime, now: datetime
) -> list[tuple[datetime, HostFacts]]:
    """Return the hosts in a crash loop since a rollout was `through`; what else keeps one away is no fault of settings.

    There are none while a host serves with the same settings and was restarted by nothing: then it is the others' node,
    or what one tenant does.
    """
    if any(_serves(one, now) and not one.ends for one in hosts):
        return []
    looping = [one for one in hosts if never_serves(seen, one, now)]
    since = [(max(through, one.created or through), one) for one in looping]
    return [(start, one) for start, one in since if _ends_often(one, start, now)]


def _ends_often(host: HostFacts, start: datetime, now: datetime) -> bool:
    """Return whether a host's container has ended, from `start` on, more than once, and as often as a crash loop.

    Only the last end has a time. If its run began after `start`, the one before ended after it, too.
    """
    last = host.last_end
    anew = last is not None and last.started_at is not None and last.started_at >= start
    return anew and now - start < host.ends * _OFTEN


def _unserved_since(seen: PoolSeen, host: HostFacts, now: datetime) -> datetime | None:
    """Return since when a host should serve that does not; moments in which a crash loop is ready are nothing."""
    if _loops(seen, host, now):
        return None if _serves(host, now) else host.created
    return None if host.ready else host.unready_since


def never_serves(seen: PoolSeen, host: HostFacts, now: datetime) -> bool:
    """Return whether a host ends again and again, and is ready for moments at most in between."""
    return _loops(seen, host, now) and not _serves(host, now)


def _loops(seen: PoolSeen, host: HostFacts, now: datetime) -> bool:
    """Return whether a host's container ends again and again: last a short while ago, and before it was there long."""
    last = host.last_end
    if host.ends < _ENDS or last is None or last.started_at is None or last.finished_at is None:
        return False
    return max(last.finished_at - last.started_at, now - last.finished_at) < max(_deadline(seen), _HUNG)


def _deadline(seen: PoolSeen) -> timedelta:
    """Return how long a new host may take."""
    return timedelta(seconds=seen.pool.spec.rolling.progress_deadline_seconds)


def _serves(host: HostFacts, now: datetime) -> bool:
    """Return whether a host is ready, and not for a moment only if its container has ended before."""
    settled = not host.ends or host.unready_since is None or now - host.unready_since >= _CALM
    return host.ready and settled


def _left(seen: PoolSeen, target: str, before: PoolRolloutStatus, now: datetime) -> timedelta | None:
    """Return how long the first of the new hosts may still take; None: there is none, or nothing to go back to."""
    late = _late(seen, target, before, now)
    if before.current_revision in (None, target) or not late:
        return None
    return min(since for since, _ in late) + _deadline(seen) - now


def _steered(seen: PoolSeen, wanted: Json, former: str | None, *, failed: bool) -> Json:
    """Return the StatefulSet with the template that hosts are to have now, and held where none is to be replaced.

    The good template was looked for by the target of the pass before: it is used only if its hash is `former`.
    """
    rule = seen.pool.spec.rolling
    if failed and rule.on_failure == "Rollback" and seen.good is not None and template_hash(seen.good) == former:
        return wanted | {"spec": wanted["spec"] | {"template": seen.good}}
    return held(wanted, wanted["spec"]["replicas"]) if failed or rule.paused else wanted


def held(made: Json, count: int) -> Json:
    """Return the StatefulSet that replaces none of so many hosts; one that dies comes back as it was."""
    rolling = made["spec"]["updateStrategy"]["rollingUpdate"] | {"partition": count}
    return made | {"spec": made["spec"] | {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}}


def _served_with(seen: PoolSeen, target: str, now: datetime) -> str:
    """Return the settings of the StatefulSet as it is, if all of its hosts serve with them, else nothing.

    An operator that kept no account of rollouts may have made them. Where they are about to change, one host is
    enough: a pool that was never all ready, since a node is too small for the last, has something to go back to, too.
    """
    spec = (seen.stateful_set or {}).get("spec", {})
    present = template_hash(spec.get("template", {}))
    enough = int(spec.get("replicas", 0)) if present == target else 1
    return present if _is_through(seen.hosts, present, enough, now) else ""


def _is_through(hosts: Iterable[HostFacts], target: str, count: int, now: datetime) -> bool:
    """Return whether all hosts that there should be serve with these settings."""
    done = [one for one in hosts if _serves(one, now) and not one.deleting and one.template_hash == target]
    return 0 < count <= len(done)
