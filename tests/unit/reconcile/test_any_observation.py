"""Whatever is seen, sense or nonsense: a plan touches nothing of others, and to plan again changes nothing."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from agentsessions.api.names import pod_name
from agentsessions.api.status import AgentSessionStatus
from agentsessions.builders.activation import activation
from agentsessions.hosts.errors import HostError
from agentsessions.reconcile.longrunning import answers, forgetting
from agentsessions.reconcile.longrunning.model import Around, Handover, Step
from agentsessions.reconcile.longrunning.plan import decide
from agentsessions.reconcile.model import Action, DeletePod, DeleteSession, Observed, Plan, StartPod
from agentsessions.reconcile.plan import make_plan
from agentsessions.reconcile.pools.model import PoolSeen
from agentsessions.reconcile.pools.plan import make_plan as make_pool_plan
from unit import hybrid, observations
from unit.examples import looking
from unit.hostile import REFUSALS
from unit.make import CONFIG, NOW, UID, make_settings

MOST = 12
"""Plans until nothing changes: each loss and each attempt that ended takes one, and some are written in two steps."""


def settled(plan: Callable[[AgentSessionStatus], Plan | Step], status: AgentSessionStatus) -> None:
    """Plan upon what was planned, in a world that stands still, until nothing changes; nothing may go back."""
    for _ in range(MOST):
        after = plan(status).status
        assert AgentSessionStatus.model_validate(after.to_json()) == after, "what is read is what was written"
        if after == status:
            return
        assert (after.restarts, after.wakes) >= (status.restarts, status.wakes)
        status = after
    raise AssertionError("it is never content with its own status")


def about_its_own(actions: tuple[Action, ...], seen: Observed | Around, uid: str) -> None:
    """See that nothing is deleted that belongs to others, and no more than one pod is started."""
    assert sum(isinstance(action, StartPod) for action in actions) <= 1
    for action in actions:
        if isinstance(action, DeletePod):
            assert action.pod.owner_uid == uid
        if isinstance(action, DeleteSession):
            assert action.session.metadata == seen.session.metadata


@looking(150)
@given(observations.tasks())
def test_an_ephemeral_session_is_planned_from_anywhere(seen: Observed) -> None:
    plan = make_plan(seen, NOW, CONFIG)
    about_its_own(plan.actions, seen, UID)
    for action in plan.actions:
        if isinstance(action, StartPod):
            assert action.manifest["metadata"]["name"] == pod_name("hello", UID, seen.session.status.restarts)
            assert not [pod for pod in seen.own_pods if pod.attempt == seen.session.status.restarts]
        if isinstance(action, DeleteSession):
            assert seen.session.spec.ttl_seconds_after_finished is not None
            assert seen.session.status.completion_time is not None
    if seen.session.status.completion_time is not None:
        kept = seen.session.status.model_copy(update={"observed_generation": plan.status.observed_generation})
        assert plan.status == kept, "what is finished stays so"


@looking(150)
@given(observations.tasks())
def test_an_ephemeral_session_is_content_with_its_own_plan(seen: Observed) -> None:
    def again(status: AgentSessionStatus) -> Plan:
        session = seen.session.model_copy(update={"status": status})
        return make_plan(replace(seen, session=session), NOW, CONFIG)

    settled(again, seen.session.status)


@looking(200)
@given(observations.talks())
def test_a_session_that_lasts_is_decided_on_from_anywhere(around: Around) -> None:
    step = decide(around, NOW, hybrid.CONFIG)
    about_its_own(step.actions, around, hybrid.UID)
    assert step.handover is None or step.put_away is None
    if step.handover is not None:
        assert step.handover.host.ready
        assert not step.handover.host.deleting
    if any(isinstance(action, StartPod) for action in step.actions):
        number = around.session.status.wakes + 1
        mine = [pod for pod in around.pods if pod.owner_uid == hybrid.UID and pod.attempt != number]
        ours = [pod for pod in mine if pod.name == pod_name(hybrid.NAME, hybrid.UID, pod.attempt)]
        assert not ours, "two must never write one conversation"
        assert not around.session.spec.suspended
    for action in step.actions:
        if isinstance(action, DeleteSession):
            assert around.session.spec.ttl_seconds_after_idle is not None
            assert around.session.status == step.status
            assert not around.session.spec.suspended


@looking(200)
@given(observations.talks())
def test_a_session_that_lasts_is_content_with_its_own_decision(around: Around) -> None:
    def again(status: AgentSessionStatus) -> Step:
        return decide(replace(around, session=around.session.model_copy(update={"status": status})), NOW, hybrid.CONFIG)

    settled(again, around.session.status)


@looking(150)
@given(observations.talks(), st.sampled_from(sorted(REFUSALS)))
def test_whatever_a_host_answers_there_is_a_status_for_it(around: Around, why: str) -> None:
    error: HostError = REFUSALS[why]
    settings = make_settings(around.session, hybrid.CONFIG)
    for host in around.hosts:
        given_to = Handover(host, activation(around.session, settings, around.pool))
        after = answers.refused(around, given_to, error, NOW, hybrid.CONFIG)
        assert not after.status.is_true("Active")
        assert after.requeue is not None, "nobody else brings it back"
        if around.news is not None:
            taken = answers.accepted(around, Step(around.session.status), given_to, around.news, NOW, hybrid.CONFIG)
            assert taken.status.restarts >= around.session.status.restarts


@looking(100)
@given(observations.talks(), st.booleans(), st.sampled_from([0, 600]))
def test_a_deletion_goes_on_or_ends_wherever_it_is_found(around: Around, free: bool, seconds: int) -> None:
    since = timedelta(seconds=seconds)
    step = forgetting.forget(around, free=free, since=since, now=NOW, config=hybrid.CONFIG)
    assert step.actions or step.requeue is not None
    if seconds:
        kept = around.session.model_copy(update={"status": step.status})
        last = forgetting.forget(replace(around, session=kept), free=free, since=since, now=NOW, config=hybrid.CONFIG)
        assert [action for action in last.actions if type(action).__name__ == "SetFinalizers"], "it never hangs"


@looking(100)
@given(observations.pools())
def test_a_pool_is_planned_from_anywhere_and_is_content(seen: PoolSeen) -> None:
    plan = make_pool_plan(seen, NOW, CONFIG)
    again = make_pool_plan(replace(seen, pool=seen.pool.model_copy(update={"status": plan.status})), NOW, CONFIG)
    assert again.status == plan.status
    assert set(plan.lost) <= set(seen.hosts)
