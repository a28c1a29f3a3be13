"""What is remembered of sessions and of deleted pods."""

from agentsessions import metrics
from agentsessions.api.base import Json
from agentsessions.api.conditions import State, conditions_for
from agentsessions.reconcile.catalog import Catalog
from agentsessions.reconcile.observe import DeletedPods
from unit import kubelet
from unit.make import NOW, make_pod, make_session


def finished(name: str = "hello") -> Json:
    """Return a session that finished."""
    return make_session(name).with_status(completion_time=NOW).json()


def test_the_catalog_knows_whom_a_template_concerns() -> None:
    catalog = Catalog()
    catalog.put(("n", "silent"), make_session("silent").json())
    catalog.put(("n", "named"), make_session("named").with_template("reviewer").json())
    catalog.put(("n", "over"), finished("over"))
    catalog.put(("m", "elsewhere"), make_session("elsewhere").json())
    assert catalog.unfinished("n", "default") == [("n", "silent")]
    assert catalog.unfinished("n", "reviewer") == [("n", "named")]
    assert sorted(catalog.unfinished("n")) == [("n", "named"), ("n", "silent")]
    assert catalog.unfinished("o") == []


def counted(reason: str) -> float:
    """Return how many sessions are counted under a reason."""
    return metrics.sessions.labels("catalog-test", reason)._value.get()


def body_with(reason: str) -> Json:
    """Return a session with a reason."""
    row = conditions_for(State.FAILED, reason, "", previous=[], generation=1, now=NOW)
    return make_session().with_status(conditions=row).json()


def test_the_catalog_counts_each_session_once_under_its_present_reason() -> None:
    catalog, key = Catalog(), ("catalog-test", "x")
    catalog.put(key, make_session().json())
    assert counted("Unknown") == 1
    catalog.put(key, body_with("OOMKilled"))
    catalog.put(key, body_with("OOMKilled"))
    assert (counted("Unknown"), counted("OOMKilled")) == (0, 1)
    catalog.drop(key)
    catalog.drop(key)
    assert counted("OOMKilled") == 0


def test_reasons_that_images_invent_are_counted_as_one() -> None:
    """Else the number of time series would be in the hands of whoever writes an image."""
    catalog = Catalog()
    before = counted("Other")
    for number in range(5):
        catalog.put(("catalog-test", f"s{number}"), body_with(f"Invented{number}"))
    assert counted("Other") - before == 5
    for number in range(5):
        catalog.drop(("catalog-test", f"s{number}"))
    assert counted("Other") == before


def test_only_pods_that_ended_are_worth_remembering() -> None:
    deleted = DeletedPods()
    deleted.remember(make_pod(attempt=0).with_status(kubelet.running()).json())
    deleted.remember(make_pod(attempt=1).with_status(kubelet.ended(3)).json())
    assert deleted.recall("pod-0") is None
    found = deleted.recall("pod-1")
    assert found is not None
    assert found.ended is not None
    assert found.ended.exit_code == 3


def test_memory_is_bounded() -> None:
    deleted = DeletedPods()
    pod = make_pod().with_status(kubelet.ended(0))
    for number in range(2500):
        deleted.remember(pod.with_meta(uid=f"u{number}").json())
    assert deleted.recall("u0") is None
    assert deleted.recall("u2499") is not None
    assert len(deleted._pods) <= 2000
