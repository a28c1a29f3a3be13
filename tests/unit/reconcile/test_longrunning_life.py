"""LongRunning sessions from first to last, with hosts that answer over real HTTP."""

from datetime import timedelta

import pytest

from agentsessions.api.base import Json
from agentsessions.api.host import Beginning, Phase
from agentsessions.api.status import Usage
from agentsessions.kube.paths import CORE_EVENTS, PODS, POOLS, SESSIONS, TEMPLATES
from agentsessions.policies.placement import rank
from agentsessions.reconcile.longrunning.hostwatch import clear_leftovers
from agentsessions.reconcile.pools.loop import PoolReconciler
from unit import kubelet
from unit.hosts.fakehost import FakeHost, make_host_session, until
from unit.lasting import KEY, make_pool, make_talk, stage, two_hosts
from unit.make import CONFIG, NAMESPACE, stamp

UID = "11111111-1111-4111-8111-111111111111"
STORED = {"workspace": {"storage": "1Gi"}}


@pytest.mark.requirement("H37")
async def test_a_session_is_placed_handed_over_and_runs_with_two_writes() -> None:
    hosts = two_hosts()
    async with stage(*hosts) as on:
        assert await on.settle() == 2
        status = on.session().status
        wanted = rank(UID, ["chat-0", "chat-1"])[0]
        assert status.host is not None
        assert (status.host.pod, status.host.node) == (wanted, "n1")
        assert on.says() == ("True", "Running")
        assert status.condition("Succeeded") is None
        assert status.condition("Resumed") is None
        assert status.endpoint == "/v1/namespaces/team-a/sessions/talk"
        assert status.start_time is not None
        (given,) = [g for host in hosts for g in host.given]
        assert (str(given.session_id), given.settings.limits.recycle_memory) == (UID, "300Mi")
        assert on.events() == []


@pytest.mark.requirement("K02", "H37")
@pytest.mark.parametrize("stored", [True, False])
async def test_from_a_host_that_stops_a_session_moves_as_soon_as_it_is_stored_there(stored: bool) -> None:
    hosts = two_hosts()
    async with stage(*hosts) as on:
        await on.settle()
        before = on.session().status.host
        assert before is not None
        first, other = sorted(hosts, key=lambda host: host.pod != before.pod)
        on.world.objects[PODS, NAMESPACE, first.pod]["metadata"]["deletionTimestamp"] = stamp(on.world.now)
        on.queue.keys.clear()
        first.tell(first.sessions[UID].model_copy(update={"put_away": stored, "usage": Usage(turns=3), "prompts": 3}))
        if stored:
            await until(lambda: on.queue.keys)
        await on.settle()
        status = on.session().status
        assert status.host is not None
        assert status.host.pod == (other.pod if stored else first.pod)
        if stored:
            assert on.says() == ("True", "Running")
            assert status.usage == Usage(turns=3), "what the first host told last is not lost"
            assert [given.epoch for given in (*first.given, *other.given)] == [1, 2]
            assert on.events() == ["HostLost"]


async def test_a_session_without_its_pool_waits_for_it() -> None:
    async with stage(FakeHost()) as on:
        on.world.remove(POOLS, NAMESPACE, "chat")
        await on.settle()
        assert on.says("Stalled") == ("True", "PoolNotFound")
        on.world.add(POOLS, make_pool())
        await on.settle()
        assert on.says() == ("True", "Running")
        assert on.events() == ["PoolNotFound"]


async def test_a_pools_missing_template_is_said_to_be_missing() -> None:
    async with stage(FakeHost(), pool=make_pool(templateRef={"name": "other"})) as on:
        await on.settle()
        assert on.says("Stalled") == ("True", "TemplateNotFound")


async def test_without_a_ready_host_a_session_waits_and_looks_again() -> None:
    async with stage(FakeHost()) as on:
        on.set_ready("chat-0", False)
        await on.settle()
        assert on.says("Reconciling") == ("True", "NoReadyHost")
        assert on.requeue == timedelta(seconds=15)
        on.set_ready("chat-0", True)
        await on.settle()
        assert on.says() == ("True", "Running")


@pytest.mark.requirement("H36")
async def test_a_full_pool_is_waited_for_and_room_is_taken() -> None:
    host = FakeHost(capacity=1)
    async with stage(host) as on:
        on.world.add(SESSIONS, make_talk("second", uid=UID.replace("1", "2")).json())
        await on.settle()
        await on.settle((NAMESPACE, "second"))
        assert on.says("Reconciling", "second") == ("True", "PoolFull")
        on.world.remove(SESSIONS, *KEY)
        on.queue.keys.clear()
        await on.look()
        assert on.queue.keys == [(NAMESPACE, "second")]
        await on.settle((NAMESPACE, "second"))
        assert on.says(name="second") == ("True", "Running")


async def test_a_host_that_says_it_is_full_is_passed_over() -> None:
    hosts = two_hosts()
    first = next(h for h in hosts if h.pod == rank(UID, ["chat-0", "chat-1"])[0])
    first.refusal = None
    async with stage(*hosts) as on:
        first.refusal = ("host-full", 507)
        await on.settle()
        assert on.says() == ("True", "Running")
        status = on.session().status
        assert status.host is not None
        assert status.host.pod != first.pod
        assert status.restarts == 0


@pytest.mark.parametrize(
    ("refusal", "reason", "kind"),
    [
        (("draining", 503), "HostNotReady", "Reconciling"),
        (("broken", 500), "HostUnreachable", "Reconciling"),
        (("misdirected", 421), "HostUnreachable", "Reconciling"),
        (("bad-activation", 400), "ActivationRefused", "Stalled"),
        (("transcript-missing", 409), "TranscriptMissing", "Stalled"),
    ],
)
async def test_every_refusal_of_a_host_has_its_reason_and_mends_itself(
    refusal: tuple[str, int], reason: str, kind: str
) -> None:
    host = FakeHost()
    async with stage(host) as on:
        host.refusal = refusal
        await on.settle()
        assert on.says(kind) == ("True", reason)
        assert on.requeue is not None
        assert timedelta(seconds=2) <= on.requeue <= timedelta(seconds=60)
        host.refusal = None
        await on.settle()
        assert on.says() == ("True", "Running")


@pytest.mark.requirement("K03")
async def test_a_missing_conversation_is_said_in_resumed_too_until_it_is_found() -> None:
    host = FakeHost()
    async with stage(host) as on:
        host.refusal = ("transcript-missing", 409)
        await on.settle()
        assert on.says("Resumed") == ("False", "TranscriptMissing")
        assert on.events() == ["TranscriptMissing"]


@pytest.mark.requirement("K03")
async def test_a_session_that_goes_on_with_nothing_runs_and_says_so() -> None:
    host = FakeHost(beginning=Beginning.LOST)
    async with stage(host, maker=make_talk(onMissingTranscript="StartFresh")) as on:
        await on.settle()
        assert on.says() == ("True", "Running")
        assert on.says("Resumed") == ("False", "TranscriptMissing")
        assert host.given[0].on_missing_transcript == "StartFresh"
        assert on.events() == ["TranscriptMissing"]


async def test_figures_reach_the_status_once_a_minute_and_never_fall() -> None:
    host = FakeHost()
    async with stage(host) as on:
        await on.settle()
        host.tell(make_host_session(UID, usage=Usage(turns=3, output_tokens=10, cost_usd="0.5")))
        await until(lambda: on.lasting.streams.session(UID, host.uid).usage.turns == 3)  # type: ignore[union-attr]
        assert await on.look() == 0
        assert on.requeue == timedelta(seconds=60)
        on.world.now += timedelta(seconds=60)
        assert await on.settle() == 1
        host.tell(make_host_session(UID, usage=Usage(turns=1, output_tokens=99, cost_usd="0.1")))
        await until(lambda: on.lasting.streams.session(UID, host.uid).usage.turns == 1)  # type: ignore[union-attr]
        on.world.now += timedelta(seconds=60)
        await on.settle()
        assert on.session().status.usage == Usage(turns=3, output_tokens=99, cost_usd="0.5")


async def test_an_idle_session_costs_no_write() -> None:
    async with stage(FakeHost()) as on:
        await on.settle()
        on.world.now += timedelta(hours=1)
        assert await on.settle() <= 1, "the last activity of the handover"
        on.world.now += timedelta(hours=1)
        assert await on.settle() == 0


async def test_a_failed_process_is_shown_at_once_and_so_is_its_recovery() -> None:
    host = FakeHost()
    async with stage(host) as on:
        await on.settle()
        fault = {"reason": "ProcessDied", "message": "exit code 1", "time": on.world.now}
        host.tell(make_host_session(UID, phase=Phase.FAILED, fault=fault))
        await until(lambda: KEY in on.queue.keys)
        await on.settle()
        assert on.says("Stalled") == ("True", "CLIFailed")
        on.queue.keys.clear()
        host.tell(make_host_session(UID))
        await until(lambda: KEY in on.queue.keys)
        await on.settle()
        assert on.says() == ("True", "Running")
        assert len(host.given) == 1, "the host has it all along"


async def test_settings_that_changed_are_told_to_the_host() -> None:
    host = FakeHost()
    async with stage(host) as on:
        await on.settle()
        on.world.edit(SESSIONS, "talk", agent={"model": "claude-opus-4-5"})
        await on.settle()
        assert [given.settings.agent.model for given in host.given] == [None, "claude-opus-4-5"]
        assert on.session().status.restarts == 0


async def test_a_host_whose_container_was_restarted_is_given_the_session_again() -> None:
    host = FakeHost()
    async with stage(host) as on:
        await on.settle()
        host.sessions, host.incarnation, host.beginning = {}, "two", Beginning.RESUMED
        on.queue.keys.clear()
        host.hang_up()
        await until(lambda: KEY in on.queue.keys and on.heard(host.uid))
        await on.settle()
        assert len(host.given) == 2
        assert on.session().status.restarts == 1
        assert on.says("Resumed") == ("True", "TranscriptFound")


async def test_an_operator_that_starts_anew_changes_nothing() -> None:
    host = FakeHost()
    async with stage(host) as on:
        await on.settle()
        on.lasting._written.clear()
        on.lasting.streams.drop(host.uid)
        assert await on.settle() == 0
        assert len(host.given) == 1


@pytest.mark.requirement("H37")
async def test_without_a_volume_a_lost_host_means_to_move_along_the_hash() -> None:
    hosts = two_hosts()
    async with stage(*hosts) as on:
        was = await on.placed()
        on.lose_pod(was.pod)
        await on.follow()
        await on.settle()
        now = on.session().status
        assert now.host is not None
        assert now.host.pod != was.pod
        assert (now.restarts, on.says()) == (1, ("True", "Running"))
        assert on.events() == ["HostLost"]
        assert now.last_termination is not None
        assert (now.last_termination.reason, now.last_termination.pod_uid) == ("HostLost", was.pod_uid)
        assert (now.last_termination.node, now.last_termination.finished_at) == ("n1", on.world.now)


@pytest.mark.requirement("K02")
async def test_how_its_host_ended_is_told_though_its_pod_is_gone_before_anybody_looks() -> None:
    async with stage(*two_hosts()) as on:
        was = await on.placed()
        pod = on.world.objects[PODS, NAMESPACE, was.pod]
        on.world.set_pod(pod, kubelet.evicted())
        on.lasting.deleted.remember(pod)
        on.lose_pod(was.pod)
        await on.follow()
        await on.settle()
        now = on.session().status
        assert now.last_termination is not None
        assert (now.last_termination.reason, now.last_termination.pod_uid) == ("Evicted", was.pod_uid)
        assert (now.restarts, now.failures, on.says()) == (1, 0, ("True", "Running"))


@pytest.mark.requirement("K02")
@pytest.mark.parametrize(("names_uid", "told"), [(True, "Evicted"), (False, "HostLost")])
async def test_how_its_host_ended_is_told_by_events_of_that_very_pod(names_uid: bool, told: str) -> None:
    async with stage(*two_hosts()) as on:
        was = await on.placed()
        event = kubelet.event(on.world.objects[PODS, NAMESPACE, was.pod], "Evicted", kubelet.EVICTED_NODE, on.world.now)
        if not names_uid:  # hosts of a pool have the names of those before them
            del event["involvedObject"]["uid"]
        on.world.add(CORE_EVENTS, event)
        on.lose_pod(was.pod)
        await on.follow()
        await on.settle()
        last = on.last_end()
        assert (last.reason, last.pod_uid) == (told, was.pod_uid)


@pytest.mark.requirement("K02", "H37")
@pytest.mark.parametrize(
    ("status", "deleting", "reason", "exit_code"),
    [
        pytest.param(kubelet.evicted(), False, "Evicted", 137, id="evicted"),
        pytest.param(kubelet.unreachable(), True, "NodeLost", None, id="not-heard-of"),
        pytest.param(kubelet.node_lost(), False, "NodeLost", None, id="node-removed"),
        pytest.param(kubelet.tainted(), True, "Evicted", None, id="tainted"),
        pytest.param(kubelet.ended(143), True, "PodStopped", 143, id="deleted"),
    ],
)
async def test_how_its_host_ended_is_told_by_the_pod_while_that_is_seen(
    status: Json, deleting: bool, reason: str, exit_code: int | None
) -> None:
    async with stage(*two_hosts()) as on:
        was = await on.placed()
        pod = on.world.objects[PODS, NAMESPACE, was.pod]
        on.world.set_pod(pod, status | {"podIP": "10.0.0.7"})
        if deleting:
            pod["metadata"]["deletionTimestamp"] = stamp(on.world.now)
        assert await on.settle() == 1
        first = on.session().status.last_termination
        assert first is not None
        assert (first.reason, first.pod_uid, first.exit_code) == (reason, was.pod_uid, exit_code)
        on.lose_pod(was.pod)
        await on.follow()
        await on.settle()
        found = on.session().status
        assert (found.last_termination, found.restarts, on.says()) == (first, 1, ("True", "Running"))
        assert (found.failures, found.disruptions) == (0, 0), "of a pool's host any session may be the cause"
        assert on.events() == ["HostLost"]


@pytest.mark.requirement("K02", "H37")
async def test_a_host_that_the_operator_gives_up_was_lost_with_its_node() -> None:
    async with stage(*two_hosts()) as on:
        was = await on.placed()
        pod = on.world.objects[PODS, NAMESPACE, was.pod]
        pod["metadata"]["deletionTimestamp"] = stamp(on.world.now)
        await on.settle()
        assert on.session().status.last_termination is None, "it may yet say how it ends"
        on.world.now += timedelta(seconds=30)
        pools = PoolReconciler(on.world, CONFIG, on.lasting, lambda: on.world.now)  # type: ignore[arg-type]
        await pools.reconcile((NAMESPACE, "chat"))
        assert was.pod not in [pod["metadata"]["name"] for pod in on.world.pods()]
        await on.follow()
        await on.settle()
        last = on.last_end()
        assert (last.reason, last.pod_uid) == ("NodeLost", was.pod_uid)


async def test_a_host_that_never_had_the_session_has_ended_nothing_of_it() -> None:
    async with stage(*two_hosts()) as on:
        await on.look()
        was = on.session().status.host
        assert was is not None
        on.lose_pod(was.pod)
        await on.follow()
        await on.settle()
        assert on.session().status.last_termination is None
        assert on.events() == []


@pytest.mark.requirement("H37")
async def test_with_a_volume_a_lost_host_is_waited_for_and_found_under_its_name() -> None:
    hosts = two_hosts()
    async with stage(*hosts) as on:
        on.world.put_template(**STORED)
        was = await on.placed()
        on.lose_pod(was.pod)
        await on.settle()
        assert on.says("Reconciling") == ("True", "HostNotReady")
        heir = next(host for host in hosts if host.pod == was.pod)
        heir.uid, heir.beginning, heir.sessions = "pod-uid-new", Beginning.RESUMED, {}
        on.put_pod(was.pod, heir.uid)
        await on.settle()
        now = on.session().status
        assert now.host is not None
        assert (now.host.pod, now.host.pod_uid, now.restarts) == (was.pod, heir.uid, 1)
        assert now.last_termination is not None
        assert (now.last_termination.reason, now.last_termination.pod_uid) == ("HostLost", was.pod_uid)
        on.lose_pod(heir.pod)
        await on.settle()
        again = on.session().status.last_termination
        assert again is not None
        assert again.pod_uid == heir.uid, "another pod of the same name"
        on.put_pod(was.pod, "pod-uid-third")
        heir.uid, heir.sessions = "pod-uid-third", {}
        await on.settle()
        assert on.says("Resumed") == ("True", "TranscriptFound")


async def test_with_a_volume_a_host_that_was_scaled_away_is_not_waited_for() -> None:
    hosts = two_hosts()
    async with stage(*hosts) as on:
        on.world.put_template(**STORED)
        on.world.edit(POOLS, "chat", replicas=1)
        on.world.remove(SESSIONS, *KEY)
        uid = next(
            u for u in (f"{n:08d}-1111-4111-8111-111111111111" for n in range(99)) if rank(u, NAMES)[0] == NAMES[1]
        )
        on.world.add(SESSIONS, make_talk(uid=uid).json())
        await on.settle()
        on.lose_pod("chat-1")
        await on.settle()
        status = on.session().status
        assert status.host is not None
        assert status.host.pod == "chat-0"


NAMES = ["chat-0", "chat-1"]


async def test_a_host_that_is_not_ready_is_waited_for_and_one_that_stops_is_let_finish() -> None:
    async with stage(FakeHost()) as on:
        await on.settle()
        on.set_ready("chat-0", False)
        await on.settle()
        assert on.says("Reconciling") == ("True", "HostNotReady")
        on.set_ready("chat-0", True)
        await on.settle()
        assert on.says() == ("True", "Running")


async def test_a_deleted_session_is_taken_from_its_host_and_its_namesake_is_not() -> None:
    host = FakeHost()
    async with stage(host) as on:
        await on.settle()
        on.world.remove(SESSIONS, *KEY)
        namesake = make_talk(uid=UID.replace("1", "3"))
        on.world.add(SESSIONS, namesake.json())
        await on.settle()
        assert (host.deleted, host.archived) == ([(UID, "delete")], [UID])
        assert set(host.sessions) == {UID.replace("1", "3")}


async def test_a_host_that_cannot_be_reached_does_not_keep_a_session_from_going() -> None:
    host = FakeHost()
    async with stage(host) as on:
        await on.settle()
        host.refusal = ("broken", 500)
        on.world.remove(SESSIONS, *KEY)
        assert await on.look() == 0
        host.refusal = None
        await clear_leftovers(on.lasting)
        assert (host.deleted, host.archived) == ([(UID, "delete")], [UID])


async def test_what_a_host_holds_by_right_or_without_a_resource_is_no_leftover() -> None:
    other = UID.replace("1", "4")
    host = FakeHost(sessions={other: make_host_session(other, "x", origin="Implicit")})
    async with stage(host) as on:
        await on.settle()
        await clear_leftovers(on.lasting)
        assert host.deleted == []


async def test_a_session_that_lives_elsewhere_is_taken_from_its_old_host_and_its_files_are_kept() -> None:
    hosts = two_hosts()
    for host in hosts:
        host.sessions = {UID: make_host_session(UID)}
    async with stage(*hosts) as on:
        await on.settle()
        await clear_leftovers(on.lasting)
        home = on.session().status.host
        assert home is not None
        for host in hosts:
            assert host.deleted == ([] if host.uid == home.pod_uid else [(UID, "keep")])


async def test_a_session_that_is_being_deleted_is_left_alone() -> None:
    async with stage(FakeHost(), maker=make_talk().deleting()) as on:
        assert await on.settle() == 0


async def test_a_template_that_cannot_be_read_is_named() -> None:
    async with stage(FakeHost()) as on:
        meta = {"namespace": NAMESPACE, "name": "default"}
        on.world.add(TEMPLATES, {"metadata": meta, "spec": {"resources": 7}})
        await on.settle()
        assert on.says("Stalled") == ("True", "TemplateNotFound")
