"""Sessions whose stored conversation goes with them: the finalizer comes and goes, and no deletion hangs."""

from datetime import timedelta

import pytest

from agentsessions.api.base import Json
from agentsessions.api.names import FINALIZER, cleanup_name
from agentsessions.hosts.errors import HostError, Unreachable
from agentsessions.kube.errors import Refused
from agentsessions.kube.paths import EVENTS, PODS, SECRETS, SESSIONS, TEMPLATES
from agentsessions.reconcile.longrunning.forgetting import PATIENCE
from unit import kubelet
from unit.hybrid import CONFIG, KEY, NAME, STORE, UID, Stage, awake, in_pool, make_nap, start
from unit.make import NAMESPACE, SessionMaker
from unit.operator_at_work import finish

FORGETFUL: Json = STORE | {"onDelete": "Delete"}
EMBEDDED: Json = {"type": "Embedded", "onDelete": "Delete"}
CLEANUP = cleanup_name(NAME, UID)
GRACE = timedelta(seconds=30)
ENDING = f'pods "{CLEANUP}" is forbidden: unable to create new content in namespace x because it is being terminated'


def forgetful(**spec: object) -> SessionMaker:
    """Start with a session that asks for its conversation to go with it."""
    return make_nap(**({"sessionStore": FORGETFUL} | spec))


def finalizers(on: Stage) -> list[str]:
    """Return the finalizers of the session."""
    return list(on.session().metadata.finalizers)


def delete(on: Stage) -> None:
    """Let a user delete the session."""
    finish(on.world.delete(SESSIONS, *KEY))


def is_there(on: Stage) -> bool:
    """Return whether the session still is."""
    return on.world.peek(SESSIONS, *KEY) is not None


def cleanup_pod(on: Stage) -> Json:
    """Return the pod that removes the conversation."""
    return on.world.objects[PODS, NAMESPACE, CLEANUP]


def asleep(maker: SessionMaker | None = None) -> Stage:
    """Return a stage whose session was awake once and sleeps."""
    on = awake(maker or forgetful())
    on.idle(3600)
    on.look()
    on.stores()
    on.settle()
    on.end_pods()
    on.settle()
    assert on.says() == ("True", "Asleep")
    return on


def cleaning(on: Stage) -> Stage:
    """Delete the session and go on until its cleanup pod is there."""
    delete(on)
    on.settle()
    assert on.says("Reconciling") == ("True", "Forgetting")
    assert CLEANUP in on.pods()
    return on


def test_only_those_that_ask_for_it_get_a_finalizer_by_one_write() -> None:
    on = start()
    assert on.settle() == 1
    assert finalizers(on) == []
    on = start(forgetful().with_meta(finalizers=["example.com/other"]))
    assert on.look() == 1
    assert finalizers(on) == ["example.com/other", FINALIZER]
    assert on.settle() == 1
    assert on.says() == ("True", "Asleep")


def test_it_comes_and_goes_with_what_the_template_says() -> None:
    on = in_pool()
    on.wake()
    assert finalizers(on) == []
    for store, wanted in ((FORGETFUL, [FINALIZER]), (STORE, []), (FORGETFUL, [FINALIZER])):
        on.world.put_template(sessionStore=store)
        on.settle()
        assert finalizers(on) == wanted
    on.world.remove(TEMPLATES, NAMESPACE, "default")
    on.settle()
    assert finalizers(on) == [FINALIZER], "nobody has said Retain"


def test_a_finalizer_that_may_not_be_written_keeps_the_session_from_starting() -> None:
    async def refuse(*_: object, **__: object) -> Json:
        raise Refused(403, "agentsessions is forbidden: User cannot patch", "Forbidden")

    on = start(forgetful())
    on.ask()
    merge, on.world.merge = on.world.merge, refuse  # type: ignore[method-assign]
    on.settle()
    assert on.says("Stalled")[0] == "True"
    assert "cannot patch" in on.message()
    assert on.pods() == []
    on.world.merge = merge  # type: ignore[method-assign]
    on.settle()
    assert finalizers(on) == [FINALIZER]


def test_without_a_finalizer_a_deletion_asks_nobody() -> None:
    on = asleep(make_nap())
    delete(on)
    on.look()
    assert not is_there(on)
    assert on.pods() == []


def test_a_session_that_never_had_a_host_goes_at_once() -> None:
    on = start(forgetful())
    on.settle()
    delete(on)
    assert on.look() == 1
    assert not is_there(on)
    assert list(on.world.pods()) == []


def test_what_is_to_be_retained_by_now_goes_at_once() -> None:
    on = in_pool()
    on.world.put_template(sessionStore=FORGETFUL)
    on.wake()
    delete(on)
    on.world.put_template(sessionStore=STORE)
    on.look()
    assert not is_there(on)


def test_a_pod_removes_what_a_sleeper_has_stored() -> None:
    on = cleaning(asleep())
    pod = cleanup_pod(on)
    assert "ownerReferences" not in pod["metadata"]
    (secret,) = [body for body in on.world.of(SECRETS) if body["metadata"]["name"] == CLEANUP]
    assert secret["metadata"]["ownerReferences"][0]["uid"] == pod["metadata"]["uid"]
    on.world.set_pod(pod, kubelet.running())
    assert on.settle() == 0
    on.world.set_pod(pod, kubelet.ended(0))
    on.look()
    assert not is_there(on)
    assert list(on.world.pods()) == []
    assert CLEANUP not in [body["metadata"]["name"] for body in on.world.of(SECRETS)]
    assert on.events() == []


@pytest.mark.parametrize(("store", "told"), [(FORGETFUL, "Delete"), (STORE, "Retain")], ids=["delete", "retain"])
def test_its_host_is_told_whether_what_is_stored_stays(store: Json, told: str) -> None:
    assert awake(make_nap(sessionStore=store)).hosts.given[-1].on_delete == told


def test_a_host_is_told_when_that_changes() -> None:
    on = in_pool()
    on.wake()
    on.world.put_template(sessionStore=FORGETFUL)
    on.settle()
    assert [given.on_delete for given in on.hosts.given] == ["Retain", "Delete"]


def test_its_own_pods_are_gone_before() -> None:
    on = awake(forgetful())
    (own,) = on.pods()
    delete(on)
    on.settle()
    assert (on.hosts.deleted, on.hosts.archived) == ([(UID, "delete")], [])
    assert on.pods() == []
    assert [pod["metadata"]["name"] for pod in on.world.pods()] == [own], "on its way out"
    assert own in on.message()
    on.lose(own)
    on.settle()
    assert on.pods() == [CLEANUP]


def test_a_session_of_a_pool_leaves_its_host_before() -> None:
    on = in_pool()
    on.world.put_template(sessionStore=FORGETFUL)
    on.wake()
    hosts = set(on.pods())
    on.hosts.refusal = None
    calls: list[str] = []

    async def unreachable(host: object, session_id: str, files: str, *, archive: bool) -> None:
        assert not archive, "what is to be forgotten needs no archive"
        calls.append(session_id)
        raise Unreachable(0, "no-answer", "TimeoutError")

    reachable, on.hosts.delete = on.hosts.delete, unreachable  # type: ignore[method-assign]
    delete(on)
    on.settle()
    assert calls
    assert set(on.pods()) == hosts
    assert "does not let go" in on.message()
    on.hosts.delete = reachable  # type: ignore[method-assign]
    on.settle()
    assert (on.hosts.deleted, on.hosts.archived) == ([(UID, "delete")], [])
    assert set(on.pods()) == {*hosts, CLEANUP}
    assert issubclass(Unreachable, HostError)


def test_a_store_that_refuses_is_told_of_and_the_session_goes() -> None:
    on = cleaning(asleep())
    said = "Traceback\nagentrunner store: the session store refused user or password"
    on.world.set_pod(cleanup_pod(on), kubelet.ended(2, message=said))
    on.look()
    assert on.says("Stalled") == ("True", "ConversationKept")
    on.look()
    assert not is_there(on)
    assert list(on.world.pods()) == []
    (event,) = on.world.of(EVENTS)
    assert (event["type"], event["reason"]) == ("Warning", "ConversationKept")
    assert "the session store refused user or password" in event["note"]
    assert f"agentrunner store delete --type Redis --prefix agentsessions/{NAMESPACE} … {UID}" in event["note"]
    assert "Traceback" not in event["note"]


def test_the_event_names_the_archive_too() -> None:
    archive = {"s3": {"bucket": "attic"}, "prefix": "team"}
    on = cleaning(asleep(forgetful(workspace={"archive": archive})))
    on.world.set_pod(cleanup_pod(on), kubelet.ended(2, message="agentrunner store: no"))
    on.settle()
    (event,) = on.world.of(EVENTS)
    assert f"`team/{NAMESPACE}/{UID}/` from the bucket 'attic'" in event["note"]


@pytest.mark.parametrize("message", ["", "KeyError: 'hunter2'"])
def test_a_pod_that_failed_otherwise_is_made_again(message: str) -> None:
    on = cleaning(asleep())
    first = cleanup_pod(on)["metadata"]["uid"]
    on.world.set_pod(cleanup_pod(on), kubelet.ended(1, message=message))
    on.look()
    assert "exit code 1" in on.message()
    assert "hunter2" not in on.message()
    on.settle()
    assert cleanup_pod(on)["metadata"]["uid"] != first
    assert "exit code 1" in on.message(), "remembered"
    on.world.set_pod(cleanup_pod(on), kubelet.ended(0))
    on.look()
    assert not is_there(on)


def test_a_deletion_never_hangs_and_says_what_it_waited_for() -> None:
    on = cleaning(asleep())
    on.world.set_pod(cleanup_pod(on), kubelet.creating("CreateContainerConfigError", 'secret "redis" not found'))
    on.settle()
    assert on.message() == "Secret 'redis' does not exist in this namespace."
    on.idle((PATIENCE + GRACE).total_seconds() - 1)
    on.look()
    assert is_there(on)
    on.idle(1)
    on.look()
    on.look()
    assert not is_there(on)
    assert on.pods() == []
    (event,) = on.world.of(EVENTS)
    assert "Secret 'redis' does not exist" in event["note"]


def test_what_kept_it_from_its_end_is_in_the_event() -> None:
    on = cleaning(asleep())
    on.world.set_pod(cleanup_pod(on), kubelet.ended(1, message="agentrunner store: the store cannot be reached"))
    on.settle()
    on.world.set_pod(cleanup_pod(on), kubelet.running())
    on.settle()
    on.idle((PATIENCE + GRACE).total_seconds())
    on.settle()
    assert "It could not be: the store cannot be reached. Remove it with" in on.world.of(EVENTS)[0]["note"]
    on = cleaning(asleep())
    on.idle((PATIENCE + GRACE).total_seconds())
    on.settle()
    assert f"Pod '{CLEANUP}' did not do it in time." in on.world.of(EVENTS)[0]["note"]


def test_own_pods_that_do_not_end_hold_it_up_for_so_long_only() -> None:
    on = awake(forgetful())
    delete(on)
    on.settle()
    on.idle((PATIENCE + GRACE).total_seconds())
    on.settle()
    assert not is_there(on)
    assert on.events() == ["ConversationKept"]


def test_what_is_done_when_the_time_is_over_is_done() -> None:
    on = cleaning(asleep())
    on.idle((PATIENCE + GRACE).total_seconds())
    on.world.set_pod(cleanup_pod(on), kubelet.ended(0))
    on.look()
    assert not is_there(on)
    assert on.events() == []


def test_a_namespace_that_is_deleted_does_not_wait() -> None:
    on = asleep()
    on.world.refusals["POST pods"] = ENDING
    delete(on)
    on.look()
    assert on.says("Stalled") == ("True", "ConversationKept")
    on.look()
    assert not is_there(on)
    assert "namespace is being deleted" in on.world.of(EVENTS)[0]["note"]


def test_a_step_of_the_clock_does_not_end_its_patience() -> None:
    on = asleep()
    on.world.refusals["POST pods"] = "exceeded quota: pods"
    on.lasting.clock = lambda: 0.0
    delete(on)
    on.look()
    on.idle(86_400)
    on.look()
    assert on.says("Reconciling") == ("True", "Forgetting")
    on.lasting.clock = lambda: (PATIENCE + GRACE).total_seconds()
    on.look()
    assert on.events() == ["ConversationKept"]


def test_a_quota_is_waited_for() -> None:
    on = asleep()
    on.world.refusals["POST pods"] = "exceeded quota: pods"
    delete(on)
    on.look()
    assert on.says("Reconciling") == ("True", "Forgetting")
    assert on.requeue is not None
    assert "exceeded quota: pods" in on.message()
    on.world.refusals.clear()
    on.settle()
    assert on.pods() == [CLEANUP]


def test_a_store_that_nobody_knows_any_more_is_told_of() -> None:
    on = in_pool()
    on.world.put_template(sessionStore=FORGETFUL)
    on.wake()
    delete(on)
    on.world.remove(TEMPLATES, NAMESPACE, "default")
    on.settle()
    assert "not known any more" in on.message()
    on.idle((PATIENCE + GRACE).total_seconds())
    on.settle()
    assert not is_there(on)
    assert UID in on.world.of(EVENTS)[0]["note"]


def test_an_operator_that_comes_late_has_as_long_as_any_other() -> None:
    on = asleep()
    delete(on)
    on.idle(86_400)
    on.restart()
    on.settle()
    assert on.pods() == [CLEANUP]
    on.restart()
    on.world.set_pod(cleanup_pod(on), kubelet.ended(0))
    on.look()
    assert not is_there(on)


def test_a_pod_of_somebody_elses_is_left_alone() -> None:
    on = asleep()
    on.world.add(PODS, {"metadata": {"name": CLEANUP, "namespace": NAMESPACE}, "spec": {}})
    delete(on)
    on.look()
    on.idle((PATIENCE + GRACE).total_seconds())
    on.settle()
    assert not is_there(on)
    assert on.pods() == [CLEANUP]


def test_the_embedded_stores_password_goes_with_the_pod() -> None:
    embedded = CONFIG.embedded_store.model_copy(update={"enabled": True, "url": "redis://:hunter2@embedded:6379/0"})
    on = start(make_nap(sessionStore=EMBEDDED), config=CONFIG.model_copy(update={"embedded_store": embedded}))
    on.restart()
    on.settle()
    on.wake()
    delete(on)
    on.settle()
    on.end_pods()
    on.settle()
    assert "hunter2" not in str(cleanup_pod(on))
    on.world.remove(SECRETS, NAMESPACE, CLEANUP)
    message = f'MountVolume.SetUp failed for volume "session" : secret "{CLEANUP}" not found'
    on.world.set_pod(cleanup_pod(on), kubelet.creating("CreateContainerConfigError", message))
    on.look()
    assert on.world.peek(SECRETS, NAMESPACE, CLEANUP), "made again when the pod misses it"
    on.world.set_pod(cleanup_pod(on), kubelet.ended(0))
    on.look()
    assert on.world.peek(SECRETS, NAMESPACE, CLEANUP) is None
