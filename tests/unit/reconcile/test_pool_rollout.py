"""A pool that goes over to other settings: through, held, failed, taken back, and tried again."""

from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agentsessions.api.base import Json
from agentsessions.api.conditions import State
from agentsessions.api.host import START_SECONDS
from agentsessions.api.pool import AgentPool
from agentsessions.api.rollout import PoolRolloutStatus
from agentsessions.api.template import TemplateFields
from agentsessions.kube.errors import Refused
from agentsessions.kube.paths import CONTROLLER_REVISIONS, EVENTS, POOLS, STATEFUL_SETS
from agentsessions.policies.facts import Ended
from agentsessions.policies.hosts import HostFacts
from agentsessions.policies.startup import Diagnosis
from agentsessions.pool_metrics import pool_rollouts, rolled
from agentsessions.reconcile.pools.loop import PoolReconciler
from agentsessions.reconcile.pools.model import PoolPlan, PoolSeen
from agentsessions.reconcile.pools.plan import make_plan
from agentsessions.reconcile.pools.rollout import never_serves, template_hash
from unit.hybrid import Stage, in_pool
from unit.kstatus import kstatus
from unit.lasting import make_pool
from unit.make import CONFIG, NAMESPACE, NOW, later
from unit.operator_at_work import finish
from unit.world import Request

NO_IMAGE = Diagnosis(State.BLOCKED, "ImagePullFailed", "Image 'new' cannot be pulled.")
OLD, NEW, NEWER = (TemplateFields.model_validate({"image": name}) for name in ("old", "new", "newer"))


def pool(status: Any = None, **rollout: Any) -> AgentPool:
    """Return a pool of two hosts with such a rule and status."""
    found = AgentPool.model_validate(make_pool(replicas=2, **({"rollout": rollout} if rollout else {})))
    return found if status is None else found.model_copy(update={"status": status})


def template(fields: TemplateFields) -> Json:
    """Return the hosts' pod template."""
    found: Json = make_plan(PoolSeen(pool(), template=fields), NOW, CONFIG).children[-1]["spec"]["template"]
    return found


def host(number: int, fields: TemplateFields, *, ready: bool = True, since: float = 0) -> HostFacts:
    """Return a host made from these settings, whose readiness changed so many seconds ago."""
    made = template_hash(template(fields))
    uid, address = f"uid-{number}-{made}", "10.0.0.7"
    return HostFacts(f"chat-{number}", uid, address, ready=ready, template_hash=made, unready_since=later(-since))


def settled(**rollout: Any) -> AgentPool:
    """Return a pool all of whose hosts are ready with the old settings."""
    seen = PoolSeen(pool(**rollout), template=OLD, hosts=(host(0, OLD), host(1, OLD)))
    return pool(make_plan(seen, NOW, CONFIG).status, **rollout)


def rolling(since: float, fields: TemplateFields = NEW, **rollout: Any) -> PoolSeen:
    """Return a pool whose first new host has not been ready for so many seconds."""
    hosts = (host(0, OLD), host(1, fields, ready=False, since=since))
    return PoolSeen(settled(**rollout), template=fields, hosts=hosts, trouble=NO_IMAGE, good=template(OLD))


def then(seen: PoolSeen, plan: PoolPlan, *hosts: HostFacts, **change: Any) -> PoolSeen:
    """Return what is seen once a plan is carried out."""
    after = seen.pool.model_copy(update={"status": plan.status})
    return replace(seen, pool=after, hosts=hosts or seen.hosts, **change)


def image(plan: PoolPlan) -> str:
    """Return the image of hosts that are made now."""
    (container,) = plan.children[-1]["spec"]["template"]["spec"]["containers"]
    return str(container["image"])


def partition(plan: PoolPlan) -> int:
    """Return the number of the first host that may be replaced."""
    return int(plan.children[-1]["spec"]["updateStrategy"]["rollingUpdate"]["partition"])


def says(plan: PoolPlan) -> dict[str, tuple[str, str]]:
    """Return status and reason by condition."""
    return {str(one.type): (one.status, str(one.reason)) for one in plan.status.conditions}


def standing(plan: PoolPlan) -> str:
    """Return what kstatus makes of it."""
    return kstatus({"metadata": {"generation": 0}, "status": plan.status.to_json() | {"observedGeneration": 0}})


def test_settings_are_current_once_all_hosts_are_ready_with_them() -> None:
    before = make_plan(PoolSeen(pool(), template=OLD, hosts=(host(0, OLD),)), NOW, CONFIG)
    assert before.status.rollout == PoolRolloutStatus(target_revision=template_hash(template(OLD)))
    assert settled().status.rollout == PoolRolloutStatus(
        current_revision=template_hash(template(OLD)), target_revision=template_hash(template(OLD))
    )
    through = make_plan(replace(rolling(0), hosts=(host(0, NEW), host(1, NEW)), trouble=None), NOW, CONFIG)
    assert through.status.rollout is not None
    assert through.status.rollout.current_revision == template_hash(template(NEW))


def test_a_new_host_has_until_the_deadline_and_the_pool_is_looked_at_when_that_is_over() -> None:
    plan = make_plan(rolling(595), NOW, CONFIG)
    assert (image(plan), plan.notices, plan.requeue) == ("new", (), timedelta(seconds=5))
    assert "Progressing" not in says(plan)


@pytest.mark.requirement("K02")
def test_a_host_that_is_not_ready_in_time_brings_the_former_settings_back() -> None:
    seen = rolling(600)
    plan = make_plan(seen, NOW, CONFIG)
    assert image(plan) == "old"
    assert partition(plan) == 0
    assert says(plan)["Progressing"] == ("False", "RolledBack")
    (notice,) = plan.notices
    assert (notice.kind, notice.reason) == ("Warning", "RolledBack")
    assert "chat-1" in notice.message
    assert "600 seconds: Image 'new' cannot be pulled." in notice.message
    assert plan.status.template_hash == template_hash(template(OLD))
    assert plan.status.rollout is not None
    assert plan.status.rollout.failed_revision == template_hash(template(NEW))


@pytest.mark.requirement("K04")
def test_once_taken_back_hosts_serve_and_the_rollout_has_failed_for_who_waits() -> None:
    seen = rolling(600)
    seen = then(seen, make_plan(seen, NOW, CONFIG), host(0, OLD), host(1, OLD), trouble=None)
    plan = make_plan(seen, later(60), CONFIG)
    assert says(plan) == {
        "Ready": ("True", "Available"),
        "Progressing": ("False", "RolledBack"),
        "Stalled": ("True", "RolledBack"),
    }
    assert standing(plan) == "Failed"
    assert (image(plan), plan.notices) == ("old", ())
    assert make_plan(then(seen, plan), later(9999), CONFIG).status == plan.status


def test_what_failed_is_not_tried_again_until_it_changes() -> None:
    seen = rolling(600)
    seen = then(seen, make_plan(seen, NOW, CONFIG), host(0, OLD), host(1, OLD), trouble=None)
    assert image(make_plan(seen, later(9999), CONFIG)) == "old"
    plan = make_plan(replace(seen, template=NEWER), later(9999), CONFIG)
    assert image(plan) == "newer"
    assert "Progressing" not in says(plan)
    assert plan.status.rollout is not None
    assert plan.status.rollout.failed_revision is None


def test_a_pause_has_what_failed_tried_again() -> None:
    seen = rolling(600)
    seen = then(seen, make_plan(seen, NOW, CONFIG), host(0, OLD), host(1, OLD), trouble=None)
    paused = pool(seen.pool.status, paused=True)
    plan = make_plan(replace(seen, pool=paused), later(60), CONFIG)
    again = make_plan(replace(seen, pool=pool(plan.status)), later(60), CONFIG)
    assert (image(again), partition(again)) == ("new", 0)


def test_while_a_host_has_told_nothing_no_rollout_fails_since_nothing_can_be_taken_back() -> None:
    serving = {"spec": {"replicas": 2, "template": template(NEW)}}
    seen = replace(rolling(9999), silent=frozenset({"uid"}), stateful_set=serving)
    plan = make_plan(seen, NOW, CONFIG)
    assert "StatefulSet" not in {child["kind"] for child in plan.children}
    assert (plan.notices, plan.status.template_hash) == ((), template_hash(template(NEW)))
    assert plan.status.rollout is not None
    assert plan.status.rollout.failed_revision is None
    assert make_plan(replace(then(seen, plan), silent=frozenset()), NOW, CONFIG).notices != ()


def test_with_pause_on_failure_nothing_is_taken_back_and_nothing_goes_on() -> None:
    plan = make_plan(rolling(600, on_failure="Pause"), NOW, CONFIG)
    assert (image(plan), partition(plan)) == ("new", 2)
    assert says(plan)["Progressing"] == ("False", "ProgressDeadlineExceeded")
    assert says(plan)["Stalled"] == ("True", "ImagePullFailed")
    silent = make_plan(replace(rolling(600, on_failure="Pause"), trouble=None), NOW, CONFIG)
    assert says(silent)["Stalled"] == ("True", "ProgressDeadlineExceeded")
    assert standing(silent) == "Failed"


def test_without_former_settings_nothing_can_be_taken_back() -> None:
    plan = make_plan(replace(rolling(600), good=None), NOW, CONFIG)
    assert (image(plan), partition(plan)) == ("new", 2)
    assert says(plan)["Progressing"] == ("False", "ProgressDeadlineExceeded")
    first = PoolSeen(pool(), template=NEW, hosts=(host(1, NEW, ready=False, since=9999),), good=template(OLD))
    assert image(make_plan(first, NOW, CONFIG)) == "new", "hosts have never been ready with anything"


@pytest.mark.parametrize(
    "hosts",
    [
        pytest.param((host(0, OLD, ready=False, since=9999), host(1, NEW)), id="an-old-one"),
        pytest.param((host(0, OLD), replace(host(1, NEW, ready=False, since=9999), deleting=True)), id="one-that-goes"),
        pytest.param((host(0, OLD), host(1, NEWER, ready=False, since=9999)), id="one-of-a-try-before"),
    ],
)
def test_only_new_hosts_that_are_to_stay_are_judged(hosts: tuple[HostFacts, ...]) -> None:
    plan = make_plan(replace(rolling(0), hosts=hosts), NOW, CONFIG)
    assert image(plan) == "new"
    assert "Progressing" not in says(plan)


def test_after_the_rollout_a_host_that_fails_takes_nothing_back() -> None:
    seen = replace(rolling(0), hosts=(host(0, NEW), host(1, NEW)), trouble=None)
    seen = then(seen, make_plan(seen, NOW, CONFIG), host(0, NEW), host(1, NEW, ready=False, since=9999))
    assert image(make_plan(seen, NOW, CONFIG)) == "new"


def looping(number: int, *, ends: int = 3, ready: bool, since: float, ran: float = 5) -> HostFacts:
    """Return a new host, made 600 s ago, whose container has ended so often, last after it ran so many seconds."""
    last = Ended(1, "Error", "", later(-since), later(-since - ran))
    made = host(number, NEW, ready=ready, since=since)
    return replace(made, ends=ends, last_end=last, created=later(-600))


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        pytest.param(looping(1, ready=False, since=290), "old", id="in-its-back-off"),
        pytest.param(looping(1, ready=True, since=2), "old", id="ready-for-a-moment"),
        pytest.param(looping(1, ready=True, since=30), "new", id="ready-for-a-while"),
        pytest.param(looping(1, ready=False, since=2, ends=2), "new", id="two-ends-may-be-an-accident"),
        pytest.param(looping(1, ready=False, since=2, ran=600), "new", id="served-for-long"),
    ],
)
def test_a_crash_loop_that_is_ready_for_moments_is_late_all_the_same(new: HostFacts, expected: str) -> None:
    seen = replace(rolling(0), hosts=(host(0, OLD), new), trouble=None)
    plan = make_plan(seen, NOW, CONFIG)
    assert image(plan) == expected
    if expected == "old":
        assert "'chat-1' did not stay ready within 600 seconds: its container ended 3 times." in plan.notices[0].message
        assert image(make_plan(seen, later(-1), CONFIG)) == "new", "it has until the deadline"


def test_a_host_that_hangs_while_it_starts_loops_also_where_it_had_less_time() -> None:
    """It lives for as long as its node lets it, which is longer than the rollout waits."""
    hung = looping(1, ready=False, since=2, ran=START_SECONDS + 30)
    seen = replace(rolling(0, progressDeadlineSeconds=90), hosts=(hung,), trouble=None)
    assert never_serves(seen, hung, NOW)


def test_a_lucky_moment_of_a_crash_loop_is_not_the_end_of_a_rollout() -> None:
    for since, through in ((29, False), (30, True)):
        hosts = (host(0, NEW), looping(1, ready=True, since=since, ends=1))
        plan = make_plan(replace(rolling(0), hosts=hosts, trouble=None), NOW, CONFIG)
        assert plan.status.rollout is not None
        assert (plan.status.rollout.current_revision == template_hash(template(NEW))) is through


def through(*hosts: HostFacts, ago: float, **change: Any) -> PoolSeen:
    """Return a pool that went over to new settings so many seconds ago."""
    seen = replace(rolling(0), hosts=(host(0, NEW), host(1, NEW)), trouble=None)
    plan = make_plan(seen, later(-ago), CONFIG)
    assert plan.status.rollout is not None
    assert plan.status.rollout.previous_revision == template_hash(template(OLD))
    return then(seen, plan, *hosts, **change)


def made_before(*, ends: int, ended: float, ran: float) -> HostFacts:
    """Return a host made 2700 s ago that is not ready for a second, and whose container ended so many seconds ago."""
    made = looping(1, ready=False, since=ended, ends=ends, ran=ran)
    return replace(made, created=later(-2700), unready_since=later(-1))


def restarted(number: int) -> HostFacts:
    """Return a new host that serves, and whose container has ended once."""
    return looping(number, ready=True, since=300, ends=1)


@pytest.mark.parametrize(
    ("new", "ago", "expected"),
    [
        pytest.param(looping(1, ready=False, since=2), 900, "old", id="by-its-first-session"),
        pytest.param(looping(1, ready=True, since=2), 900, "old", id="ready-for-a-moment"),
        pytest.param(looping(1, ready=False, since=2), 3600, "new", id="long-after"),
        pytest.param(looping(1, ready=False, since=2, ends=2), 900, "new", id="an-accident"),
        pytest.param(looping(1, ready=True, since=30), 900, "new", id="it-serves-again"),
    ],
)
def test_a_crash_loop_soon_after_a_rollout_takes_it_back(new: HostFacts, ago: float, expected: str) -> None:
    seen = through(restarted(0), new, ago=ago)
    plan = make_plan(seen, NOW, CONFIG)
    assert image(plan) == expected
    assert plan.status.rollout is not None
    old, target = (template_hash(template(one)) for one in (OLD, NEW))
    if expected == "new":
        assert (plan.status.rollout.current_revision, plan.notices) == (target, ())
        return
    assert "its container ended 3 times" in plan.notices[0].message
    assert plan.status.rollout.to_json().items() >= {"currentRevision": old, "failedRevision": target}.items()
    again = then(seen, plan, restarted(0), host(1, OLD))
    assert make_plan(again, later(1), CONFIG).status.rollout == plan.status.rollout, "told once"
    served = make_plan(then(again, plan, host(0, OLD), host(1, OLD)), later(9999), CONFIG)
    assert (image(served), served.status.rollout) == ("old", plan.status.rollout)
    assert says(served)["Ready"] == ("True", "Available")


@pytest.mark.parametrize(
    ("other", "new", "ago"),
    [
        pytest.param(restarted(0), made_before(ends=3, ended=2600, ran=5), 2500, id="one-flap-after-a-bad-start"),
        pytest.param(restarted(0), made_before(ends=3, ended=400, ran=505), 900, id="one-end-after-a-bad-start"),
        pytest.param(restarted(0), made_before(ends=3, ended=1, ran=540), 2500, id="three-ends-in-most-of-an-hour"),
        pytest.param(host(0, NEW), looping(2, ready=False, since=2), 2500, id="others-serve"),
    ],
)
def test_soon_after_a_rollout_nothing_is_taken_back_for_less_than_a_crash_loop(
    other: HostFacts, new: HostFacts, ago: float
) -> None:
    plan = make_plan(through(other, new, ago=ago), NOW, CONFIG)
    assert (image(plan), plan.notices) == ("new", ())


@pytest.mark.parametrize("on_failure", ["Pause", "Rollback"])
def test_what_failed_and_serves_after_all_does_not_fail_again_and_again(on_failure: str) -> None:
    good = template(OLD) if on_failure == "Pause" else None
    seen = replace(rolling(0, on_failure=on_failure), hosts=(host(0, NEW), host(1, NEW)), trouble=None, good=good)
    seen, told = then(seen, make_plan(seen, later(-900), CONFIG)), []
    for at in (0, 900, 1800):
        loop = looping(1, ready=False, since=2 - at)
        for hosts in ((restarted(0), loop), (restarted(0), restarted(1))):
            seen = replace(seen, hosts=hosts)
            plan = make_plan(seen, later(at), CONFIG)
            told += [one.reason for one in plan.notices]
            seen = then(seen, plan)
    assert told == ["ProgressDeadlineExceeded"]


def test_who_goes_back_to_the_former_settings_is_not_taken_to_the_others_again() -> None:
    seen = replace(through(ago=1800), template=OLD, good=template(NEW))
    plan = make_plan(replace(seen, hosts=(host(0, OLD), host(1, OLD))), later(-900), CONFIG)
    old = template_hash(template(OLD))
    hosts = [replace(looping(number, ready=False, since=2), template_hash=old) for number in (0, 1)]
    plan = make_plan(then(seen, plan, *hosts), NOW, CONFIG)
    assert (image(plan), plan.notices) == ("old", ())


def test_only_the_template_that_is_gone_back_to_is_taken_for_it() -> None:
    plan = make_plan(replace(rolling(600), good=template(NEWER)), NOW, CONFIG)
    assert (image(plan), partition(plan)) == ("new", 2)


def test_soon_after_a_rollout_a_change_that_fails_is_taken_back_to_what_it_brought() -> None:
    seen = through(ago=60)
    newer = replace(seen, template=NEWER, good=template(NEW))
    plan = make_plan(newer, NOW, CONFIG)
    failed = then(newer, plan, host(0, NEW), host(1, NEWER, ready=False, since=600))
    plan = make_plan(failed, NOW, CONFIG)
    assert image(plan) == "new"
    assert plan.status.rollout is not None
    assert plan.status.rollout.current_revision == template_hash(template(NEW))


def test_a_pause_replaces_no_host_and_says_so() -> None:
    seen = PoolSeen(settled(paused=True), template=NEW, hosts=(host(0, OLD), host(1, OLD)), good=template(OLD))
    plan = make_plan(seen, NOW, CONFIG)
    assert (image(plan), partition(plan)) == ("new", 2)
    assert says(plan) == {"Ready": ("True", "Available"), "Progressing": ("Unknown", "RolloutPaused")}
    same = make_plan(replace(seen, template=OLD), NOW, CONFIG)
    assert "Progressing" not in says(same)


def test_hosts_whose_conversations_are_nowhere_else_are_not_given_up_for_that_either() -> None:
    plan = make_plan(replace(rolling(600), not_durable=1), NOW, CONFIG)
    assert (image(plan), partition(plan)) == ("old", 2)


def resized(before: int, after: int, **status: object) -> PoolSeen:
    """Return a pool whose one host holds so many sessions and is full, while 15 wait; its spec says another number."""
    rule = {"autoscaling": {"minReplicas": 1, "maxReplicas": 10, "targetUtilizationPercent": 100}}
    body = make_pool(sessionsPerHost=after, rollout={"paused": "rollout" not in status}, **rule)
    found = AgentPool.model_validate(body | {"status": status})
    return PoolSeen(
        found,
        template=NEW,
        hosts=(host(0, OLD),),
        stateful_set={"spec": {"replicas": 1, "template": template(OLD)}},
        loads={"chat-0": before},
        capacities={"chat-0": before},
        heard=frozenset({"chat-0"}),
        waiting=15,
    )


@pytest.mark.parametrize(
    "status",
    [pytest.param({}, id="paused"), pytest.param({"rollout": {"failedRevision": "of-these"}}, id="taken-back")],
)
@pytest.mark.parametrize(("before", "after", "hosts"), [(10, 40, 3), (40, 10, 2)])
def test_hosts_that_keep_their_settings_count_for_what_they_hold(
    before: int, after: int, hosts: int, status: dict[str, object]
) -> None:
    plan = make_plan(resized(before, after, **status), NOW, CONFIG)
    assert plan.status.desired_replicas == hosts
    assert plan.status.capacity is not None
    assert (plan.status.capacity.sessions_per_host, plan.status.capacity.sessions) == (before, before)


def test_while_a_rollout_goes_on_new_hosts_are_counted_and_old_ones_hold_what_they_did() -> None:
    plan = make_plan(resized(10, 40, rollout={}), NOW, CONFIG)
    assert plan.status.desired_replicas == 1
    assert plan.status.capacity is not None
    assert (plan.status.capacity.sessions_per_host, plan.status.capacity.sessions) == (40, 10)


@pytest.mark.parametrize(("most", "expected"), [(None, None), (1, None), (3, 3), ("25%", "25%")])
def test_how_many_hosts_may_be_missing_is_for_the_stateful_set(most: object, expected: object) -> None:
    plan = make_plan(PoolSeen(pool(maxUnavailable=most)), NOW, CONFIG)
    assert plan.children[-1]["spec"]["updateStrategy"]["rollingUpdate"].get("maxUnavailable") == expected


# In the made-up cluster


def reconcile(on: Stage) -> None:
    """Let the pool's operator look once."""
    reconciler = PoolReconciler(on.world, CONFIG, on.lasting, lambda: on.world.now)  # type: ignore[arg-type]
    finish(reconciler.reconcile((NAMESPACE, "chat")))


def status(on: Stage) -> Json:
    """Return the pool's status."""
    (found,) = on.world.of(POOLS)
    return dict(found["status"])


def remake(on: Stage, name: str, *, ready: bool) -> None:
    """Make a host anew as the StatefulSet's template says."""
    (made,) = on.world.of(STATEFUL_SETS)
    body = next(pod for pod in on.world.pods() if pod["metadata"]["name"] == name)
    body["metadata"]["annotations"] = dict(made["spec"]["template"]["metadata"]["annotations"])
    (condition,) = [one for one in body["status"]["conditions"] if one["type"] == "Ready"]
    condition |= {"status": str(ready), "lastTransitionTime": on.world.now.isoformat()}


def stateful_set(on: Stage) -> Json:
    """Return the StatefulSet."""
    (found,) = on.world.of(STATEFUL_SETS)
    return found


def test_hosts_tell_what_they_hold() -> None:
    on = in_pool()
    on.hear()
    reconcile(on)
    on.world.edit(POOLS, "chat", sessionsPerHost=40, rollout={"paused": True})
    reconcile(on)
    assert status(on)["capacity"]["sessionsPerHost"] == 10


def keep_revision(on: Stage, owner: str) -> None:
    """Let the StatefulSet's controller write down the template of now."""
    made = stateful_set(on)
    template = deepcopy(made["spec"]["template"]) | {"$patch": "replace"}
    template["metadata"]["creationTimestamp"] = None
    labels = template["metadata"]["labels"]
    owners = [{"kind": "StatefulSet", "uid": owner, "controller": True}]
    meta = {"name": f"by-{owner}", "namespace": NAMESPACE, "labels": labels, "ownerReferences": owners}
    on.world.add(CONTROLLER_REVISIONS, {"metadata": meta, "data": {"spec": {"template": template}}})


def rolled_out(*, owned: bool) -> Stage:
    """Return a pool whose rollout of other settings does not go on; the old ones are in some history."""
    on = in_pool()
    reconcile(on)
    for name in ("chat-0", "chat-1"):
        remake(on, name, ready=True)
    reconcile(on)
    keep_revision(on, stateful_set(on)["metadata"]["uid"] if owned else "another")
    on.world.put_template(image="new")
    reconcile(on)
    remake(on, "chat-1", ready=False)
    on.idle(600)
    return on


def test_former_settings_come_from_the_history_of_the_stateful_set() -> None:
    on = rolled_out(owned=True)
    old = status(on)["rollout"]["currentRevision"]
    reconcile(on)
    template = stateful_set(on)["spec"]["template"]
    assert template_hash(template) == old == status(on)["templateHash"]
    assert "$patch" not in template
    assert "creationTimestamp" not in template["metadata"]
    assert [body["reason"] for body in on.world.of(EVENTS)] == ["RolledBack"]
    assert [body["regarding"]["kind"] for body in on.world.of(EVENTS)] == ["AgentPool"]
    remake(on, "chat-1", ready=True)
    reconcile(on)
    before = on.world.writes()
    reconcile(on)
    new = {request.plural for request in on.world.writes()[len(before) :]}
    assert not new & {"statefulsets", "agentpools"}, "the former settings stay without a write"
    assert stateful_set(on)["spec"]["template"] == template


def test_a_rollout_that_could_not_be_taken_back_has_not_failed_until_it_is() -> None:
    on = rolled_out(owned=True)
    on.world.refusals["PATCH statefulsets"] = "no"
    before = status(on)
    reconcile(on)
    assert (status(on)["rollout"], status(on)["templateHash"]) == (before["rollout"], before["templateHash"])
    assert "PodRejected" in {one["reason"] for one in status(on)["conditions"]}
    assert on.world.of(EVENTS) == []
    on.world.refusals.clear()
    reconcile(on)
    assert status(on)["rollout"]["failedRevision"] == status(on)["rollout"]["targetRevision"]
    assert [body["reason"] for body in on.world.of(EVENTS)] == ["RolledBack"]


def test_the_settings_before_a_rollout_that_was_through_come_from_the_history_too() -> None:
    on = rolled_out(owned=True)
    old = status(on)["rollout"]["currentRevision"]
    for name in ("chat-0", "chat-1"):
        remake(on, name, ready=True)
    reconcile(on)
    new = status(on)["rollout"]["currentRevision"]
    assert (status(on)["rollout"]["previousRevision"], new) == (old, status(on)["rollout"]["targetRevision"])
    on.idle(900)
    times = {"startedAt": later(1490).isoformat(), "finishedAt": later(1495).isoformat()}
    for name in ("chat-0", "chat-1"):
        remake(on, name, ready=False)
        (body,) = [pod for pod in on.world.pods() if pod["metadata"]["name"] == name]
        body["status"]["containerStatuses"] = [
            {"name": "agent", "restartCount": 2, "state": {"terminated": {"exitCode": 1, **times}}}
        ]
    reconcile(on)
    assert template_hash(stateful_set(on)["spec"]["template"]) == old == status(on)["rollout"]["currentRevision"]
    assert status(on)["rollout"]["failedRevision"] == new
    reconcile(on)
    assert template_hash(stateful_set(on)["spec"]["template"]) == old


def test_a_crash_loop_is_seen_in_the_pod() -> None:
    on = rolled_out(owned=True)
    remake(on, "chat-1", ready=False)  # it was ready until now
    (body,) = [pod for pod in on.world.pods() if pod["metadata"]["name"] == "chat-1"]
    times = {"startedAt": later(590).isoformat(), "finishedAt": later(595).isoformat()}
    body["status"]["containerStatuses"] = [
        {"name": "agent", "restartCount": 2, "state": {"terminated": {"exitCode": 1, **times}}}
    ]
    reconcile(on)
    assert template_hash(stateful_set(on)["spec"]["template"]) == status(on)["rollout"]["currentRevision"]
    assert "its container ended 3 times" in status(on)["rollout"]["message"]


def test_a_history_that_is_not_the_stateful_sets_own_is_not_believed() -> None:
    on = rolled_out(owned=False)
    reconcile(on)
    assert template_hash(stateful_set(on)["spec"]["template"]) == status(on)["rollout"]["targetRevision"]
    assert stateful_set(on)["spec"]["updateStrategy"]["rollingUpdate"]["partition"] == 2


def without_account() -> Stage:
    """Return a pool whose hosts are ready, by an operator that wrote nothing of rollouts; its image was changed."""
    on = in_pool()
    reconcile(on)
    for name in ("chat-0", "chat-1"):
        remake(on, name, ready=True)
    reconcile(on)
    keep_revision(on, stateful_set(on)["metadata"]["uid"])
    status_of(on).pop("rollout")
    on.world.put_template(image="broken")
    return on


def status_of(on: Stage) -> Json:
    """Return the pool's status as it is stored."""
    found: Json = on.world.objects[POOLS, NAMESPACE, "chat"]["status"]
    return found


def goes_back(on: Stage, old: str) -> None:
    """See that the pool writes down what it had before it changes anything, and goes back to that."""
    reconcile(on)
    assert status(on)["rollout"]["currentRevision"] == old, "it is written down"
    assert template_hash(stateful_set(on)["spec"]["template"]) == old, "before anything is changed"
    reconcile(on)
    assert template_hash(stateful_set(on)["spec"]["template"]) == status(on)["rollout"]["targetRevision"] != old
    remake(on, "chat-1", ready=False)
    on.idle(600)
    reconcile(on)
    assert template_hash(stateful_set(on)["spec"]["template"]) == old


def test_the_first_rollout_after_an_upgrade_has_a_way_back() -> None:
    on = without_account()
    old = template_hash(stateful_set(on)["spec"]["template"])
    goes_back(on, old)


def test_a_pool_that_was_never_all_ready_has_a_way_back_to_what_some_serve_with() -> None:
    on = without_account()
    old = template_hash(stateful_set(on)["spec"]["template"])
    remake(on, "chat-1", ready=False)
    goes_back(on, old)


def test_as_long_as_nothing_changes_some_hosts_are_not_all() -> None:
    on = in_pool()
    reconcile(on)
    remake(on, "chat-0", ready=True)
    remake(on, "chat-1", ready=False)
    reconcile(on)
    assert "currentRevision" not in status(on)["rollout"]


def test_what_no_host_ever_served_with_is_nothing_to_go_back_to() -> None:
    on = without_account()
    for name in ("chat-0", "chat-1"):
        remake(on, name, ready=False)
    reconcile(on)
    assert "currentRevision" not in status(on)["rollout"]
    assert template_hash(stateful_set(on)["spec"]["template"]) == status(on)["rollout"]["targetRevision"]


def test_without_the_right_to_read_the_history_a_pool_goes_on() -> None:
    on = rolled_out(owned=True)
    on.world.around = refused_history
    on.world.edit(POOLS, "chat", replicas=3)
    reconcile(on)
    assert stateful_set(on)["spec"]["replicas"] == 3
    assert stateful_set(on)["spec"]["updateStrategy"]["rollingUpdate"]["partition"] == 3, "there is no way back"
    for name in ("chat-0", "chat-1"):
        remake(on, name, ready=True)
    on.world.edit(POOLS, "chat", replicas=2)
    reconcile(on)
    assert status(on)["rollout"]["currentRevision"] == status(on)["rollout"]["targetRevision"]


def refused_history(when: str, request: Request) -> None:
    """Refuse to list what StatefulSets looked like."""
    if request.plural == CONTROLLER_REVISIONS.plural:
        raise Refused(403, "controllerrevisions.apps is forbidden", "Forbidden")


def test_an_api_server_that_does_not_keep_a_field_is_not_told_again_and_again() -> None:
    on = in_pool()
    on.world.edit(POOLS, "chat", rollout={"maxUnavailable": 2})
    reconciler = PoolReconciler(on.world, CONFIG, on.lasting, lambda: on.world.now)  # type: ignore[arg-type]
    look = lambda: finish(reconciler.reconcile((NAMESPACE, "chat")))  # noqa: E731
    keep = on.world._applied

    def older(kind: Any, manifest: Json, subresource: str) -> Json:
        body = keep(kind, manifest, subresource)
        if kind == STATEFUL_SETS:
            key = (kind, NAMESPACE, manifest["metadata"]["name"])
            on.world.objects[key]["spec"]["updateStrategy"]["rollingUpdate"].pop("maxUnavailable", None)
            on.world.objects[key]["metadata"].setdefault("generation", 1)
            body = deepcopy(on.world.objects[key])
        return body

    on.world._applied = older  # type: ignore[method-assign]
    look()
    on.world.edit(POOLS, "chat", rollout={"maxUnavailable": 3})
    look()
    before = len(on.world.writes())
    look()
    look()
    assert len(on.world.writes()) == before
    on.world.edit(STATEFUL_SETS, stateful_set(on)["metadata"]["name"], replicas=7)
    look()
    assert stateful_set(on)["spec"]["replicas"] == 2, "what somebody else changes is set right all the same"


def test_one_that_is_taken_back_after_it_was_through_has_failed() -> None:
    count = lambda: [pool_rollouts.labels(end)._value.get() for end in ("completed", "failed")]  # noqa: E731
    before = count()
    rolled(PoolRolloutStatus(current_revision="new"), PoolRolloutStatus(current_revision="old", failed_revision="new"))
    assert count() == [before[0], before[1] + 1]


def test_ends_of_rollouts_are_counted_once() -> None:
    def counted() -> list[float]:
        return [pool_rollouts.labels(end)._value.get() for end in ("completed", "failed")]

    before = counted()
    first, second = PoolRolloutStatus(current_revision="a"), PoolRolloutStatus(current_revision="b")
    broken = PoolRolloutStatus(current_revision="b", failed_revision="c")
    for old, new in ((None, first), (PoolRolloutStatus(), first), (first, first), (broken, broken)):
        rolled(old, new)
    assert counted() == before
    rolled(first, second)
    rolled(second, broken)
    assert counted() == [before[0] + 1, before[1] + 1]
