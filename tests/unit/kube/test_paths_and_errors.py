"""Paths of the API, errors by status code, and events."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentsessions.kube.errors import AlreadyExists, Conflict, KubeError, NotFound, Refused, Transient, error_for
from agentsessions.kube.events import event
from agentsessions.kube.paths import CLAIMS, EVENTS, NETWORK_POLICIES, PODS, SECRETS, SESSIONS, Kind, kind_of
from unit.make import UID, make_session

NOW = datetime(2026, 5, 4, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "arguments", "path"),
    [
        pytest.param(PODS, (), "/api/v1/pods", id="core-everywhere"),
        pytest.param(PODS, ("n",), "/api/v1/namespaces/n/pods", id="core-namespace"),
        pytest.param(PODS, ("n", "x"), "/api/v1/namespaces/n/pods/x", id="core-object"),
        pytest.param(
            SESSIONS,
            ("n", "x", "status"),
            "/apis/agentsessions.dev/v1alpha1/namespaces/n/agentsessions/x/status",
            id="part-of-an-object",
        ),
        pytest.param(EVENTS, ("n",), "/apis/events.k8s.io/v1/namespaces/n/events", id="group"),
    ],
)
def test_paths(kind: Kind, arguments: tuple[str, ...], path: str) -> None:
    assert kind.path(*arguments) == path


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_what_is_no_name_has_no_path(name: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        PODS.path("n", name)


def test_a_name_is_one_part_of_a_path() -> None:
    assert PODS.path("n", "../../m/pods/x") == "/api/v1/namespaces/n/pods/..%2F..%2Fm%2Fpods%2Fx"


@pytest.mark.parametrize(
    ("word", "kind"),
    [("Pod", PODS), ("Secret", SECRETS), ("PersistentVolumeClaim", CLAIMS), ("NetworkPolicy", NETWORK_POLICIES)],
)
def test_kinds_of_manifests(word: str, kind: Kind) -> None:
    assert kind_of({"kind": word}) is kind


@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [
        (404, "NotFound", NotFound),
        (409, "AlreadyExists", AlreadyExists),
        (409, "Conflict", Conflict),
        (409, "", Conflict),
        (400, "BadRequest", Refused),
        (403, "Forbidden", Refused),
        (413, "RequestEntityTooLarge", Refused),
        (422, "Invalid", Refused),
        (401, "Unauthorized", Transient),
        (408, "", Transient),
        (410, "Expired", Transient),
        (429, "TooManyRequests", Transient),
        (500, "InternalError", Transient),
        (503, "ServiceUnavailable", Transient),
        (0, "", Transient),
    ],
)
def test_errors(code: int, reason: str, error: type[KubeError]) -> None:
    found = error_for(code, {"reason": reason, "message": "why"}, 3.0)
    assert type(found) is error
    assert (found.code, found.reason, found.message, found.retry_after) == (code, reason, "why", 3.0)
    assert str(found) == f"{code} why"


def test_an_error_without_a_body() -> None:
    assert str(error_for(500, {})) == "500 no message"


def make_event(**fields: object) -> dict[str, object]:
    """Return an event."""
    options = {
        "kind": "Warning",
        "reason": "OOMKilled",
        "action": "Retry",
        "note": "It ate too much.",
        "now": NOW,
        "reporter": "operator-0",
    } | fields
    return event(make_session().build(), **options)  # type: ignore[arg-type]


def test_the_whole_event() -> None:
    found = make_event()
    name = found["metadata"].pop("name")  # type: ignore[attr-defined]
    assert name.startswith("hello.")
    assert found == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": "team-a"},
        "eventTime": "2026-05-04T12:00:00.123456Z",
        "type": "Warning",
        "reason": "OOMKilled",
        "action": "Retry",
        "note": "It ate too much.",
        "regarding": {
            "apiVersion": "agentsessions.dev/v1alpha1",
            "kind": "AgentSession",
            "namespace": "team-a",
            "name": "hello",
            "uid": UID,
        },
        "reportingController": "agentsessions.dev/operator",
        "reportingInstance": "operator-0",
    }


def test_events_of_other_moments_and_reasons_have_other_names() -> None:
    made = [make_event(), make_event(reason="Evicted"), make_event(now=NOW + timedelta(microseconds=1))]
    assert len({m["metadata"]["name"] for m in made}) == 3  # type: ignore[index]


def test_times_are_in_utc() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5)))
    assert make_event(now=elsewhere)["eventTime"] == "2026-05-04T12:00:00.123456Z"


@given(st.text(min_size=1, max_size=1500), st.text(max_size=300))
@example("é" * 1000, "x")
@example("a" + "é" * 1000, "x")
def test_an_event_fits_the_limits_of_the_api_which_counts_bytes(note: str, reporter: str) -> None:
    found = make_event(note=note, reporter=reporter)
    assert len(str(found["note"]).encode(errors="surrogatepass")) <= 1024
    assert len(str(found["reportingInstance"])) <= 128
    assert note.startswith(str(found["note"]))
