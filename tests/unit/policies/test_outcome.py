"""How an attempt ended, for every way in which pods end."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsessions.api.base import Json
from agentsessions.api.status import Result, Usage
from agentsessions.policies.facts import Ended
from agentsessions.policies.outcome import judge, read_report, result_of, usage_of
from unit import kubelet
from unit.make import UID, make_pod, make_report

FAILED = {"outcome": "Failed"}
RUNNING = make_report("Running", "Running", message="the attempt had not finished", usage={"turns": 2})


def verdict(status: Json) -> tuple[bool, str, bool, bool]:
    """Return whether it succeeded, why not, whether a retry may help, and whether it counts."""
    found = judge(make_pod().with_status(status).facts(), UID)
    return found.succeeded, str(found.reason), found.retryable, found.counts


GOOD = (True, "Completed", False, True)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param(kubelet.ended(0), GOOD, id="exit-0-without-report"),
        pytest.param(kubelet.ended(0, message="4 files"), GOOD, id="exit-0-with-text"),
        pytest.param(kubelet.ended(0, message=make_report()), GOOD, id="exit-0-with-report"),
        pytest.param(
            kubelet.drained(0, make_report()) | {"phase": "Failed"},
            GOOD,
            id="finished-just-before-it-was-drained",
        ),
        pytest.param(
            kubelet.drained(0) | {"phase": "Failed"},
            (False, "Evicted", True, False),
            id="drained-exit-0-without-report-may-just-have-obeyed-sigterm",
        ),
        pytest.param(kubelet.ended(1), (False, "AgentFailed", True, True), id="exit-1"),
        pytest.param(kubelet.ended(1, message="boom"), (False, "AgentFailed", True, True), id="exit-1-with-text"),
        pytest.param(
            kubelet.ended(1, message=RUNNING), (False, "AgentFailed", True, True), id="killed-while-it-was-at-work"
        ),
        pytest.param(
            kubelet.ended(1, message=make_report("Failed", "ModelUnavailable", retryable=True)),
            (False, "ModelUnavailable", True, True),
            id="model-unavailable",
        ),
        pytest.param(
            kubelet.ended(64, message=make_report("Failed", "ModelAuthenticationFailed")),
            (False, "ModelAuthenticationFailed", False, True),
            id="key-refused-is-for-good",
        ),
        pytest.param(
            kubelet.ended(64, message=make_report("Failed", "MaxTurnsExceeded")),
            (False, "MaxTurnsExceeded", False, True),
            id="turns-exceeded-is-for-good",
        ),
        pytest.param(
            kubelet.ended(1, message=make_report("Failed", "Interrupted", retryable=True)),
            (False, "Interrupted", True, True),
            id="interrupted-and-nobody-stopped-it",
        ),
        pytest.param(kubelet.ended(0, message=RUNNING), (False, "AgentFailed", True, True), id="exit-0-in-mid-turn"),
        pytest.param(
            kubelet.ended(0, message=make_report("Failed", "MaxTurnsExceeded")),
            (False, "MaxTurnsExceeded", False, True),
            id="exit-0-but-the-report-says-otherwise",
        ),
        pytest.param(kubelet.never_started(), (False, "PodStopped", True, False), id="never-ran"),
        pytest.param({"phase": "Succeeded"}, GOOD, id="succeeded-and-no-container-known"),
        pytest.param(
            kubelet.ended(1, message=make_report("Failed", "BuildBroken", retryable=True)),
            (False, "BuildBroken", True, True),
            id="a-reason-of-another-image",
        ),
        pytest.param(
            kubelet.ended(1, message=make_report("Failed", "AgentCrashed", session_id="other")),
            (False, "AgentFailed", True, True),
            id="report-about-another-session",
        ),
        pytest.param(
            kubelet.ended(137, reason="OOMKilled", message=RUNNING),
            (False, "OOMKilled", True, True),
            id="oom-seen-by-the-node",
        ),
        pytest.param(
            kubelet.ended(1, message=make_report("Failed", "OOMKilled", oom_kills=1)),
            (False, "OOMKilled", True, True),
            id="oom-seen-by-the-agent",
        ),
        pytest.param(
            kubelet.evicted(kubelet.EVICTED_DISK), (False, "EphemeralStorageExceeded", True, True), id="disk-of-the-pod"
        ),
        pytest.param(
            kubelet.evicted(kubelet.EVICTED_VOLUME),
            (False, "EphemeralStorageExceeded", True, True),
            id="disk-of-a-volume",
        ),
        pytest.param(kubelet.evicted(), (False, "Evicted", True, False), id="node-in-need"),
        pytest.param(kubelet.drained(), (False, "Evicted", True, False), id="drained"),
        pytest.param(
            kubelet.drained(1, make_report("Failed", "Interrupted", retryable=True)),
            (False, "Evicted", True, False),
            id="drained-and-said-so",
        ),
        pytest.param(kubelet.deadline_exceeded(), (False, "DeadlineExceeded", False, True), id="deadline"),
        pytest.param(
            kubelet.deadline_exceeded(make_report("Failed", "Interrupted", retryable=True)),
            (False, "DeadlineExceeded", False, True),
            id="deadline-beats-what-the-agent-saw-of-it",
        ),
        pytest.param(kubelet.node_lost(), (False, "NodeLost", True, False), id="node-lost"),
        pytest.param(kubelet.unreachable(), (False, "NodeLost", True, False), id="node-not-heard-of"),
        pytest.param(kubelet.tainted(), (False, "Evicted", True, False), id="another-taint"),
        pytest.param({"phase": "Failed"}, (False, "PodStopped", True, False), id="no-word-at-all"),
        pytest.param(
            {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "no GPU"},
            (False, "PodStopped", True, False),
            id="refused-by-the-node",
        ),
        pytest.param(
            kubelet.ended(1) | {"reason": "Error"}, (False, "AgentFailed", True, True), id="a-reason-of-no-kubelet"
        ),
        pytest.param(kubelet.ended(0) | {"reason": "Completed"}, GOOD, id="a-good-reason-of-no-kubelet"),
        pytest.param(kubelet.refused_anew(), (False, "PodStopped", True, False), id="refused-while-it-ran"),
        pytest.param(kubelet.refused_anew(0), (False, "PodStopped", True, False), id="refused-and-obedient"),
        pytest.param(
            kubelet.refused_anew(1, make_report("Failed", "Interrupted", retryable=True)),
            (False, "PodStopped", True, False),
            id="refused-and-said-so",
        ),
        pytest.param(
            kubelet.refused_anew(1, make_report("Failed", "AgentCrashed", retryable=True)),
            (False, "AgentCrashed", True, True),
            id="refused-when-it-had-failed-already",
        ),
    ],
)
def test_verdict(status: Json, expected: tuple[bool, str, bool, bool]) -> None:
    assert verdict(status) == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param(kubelet.ended(0), (False, "PodStopped", True, False), id="exit-0-may-be-obedience"),
        pytest.param(kubelet.ended(0, message=make_report()), GOOD, id="unless-the-report-says-it-is-done"),
        pytest.param(kubelet.ended(143), (False, "PodStopped", True, False), id="killed"),
        pytest.param(
            kubelet.ended(1, message=make_report("Failed", "Interrupted", retryable=True)),
            (False, "Interrupted", True, False),
            id="interrupted",
        ),
        pytest.param(
            kubelet.ended(1, message=make_report("Failed", "AgentCrashed", retryable=True)),
            (False, "AgentCrashed", True, True),
            id="a-failure-of-its-own-counts-all-the-same",
        ),
    ],
)
def test_verdict_on_a_pod_that_somebody_deleted(status: Json, expected: tuple[bool, str, bool, bool]) -> None:
    found = judge(make_pod().with_status(status).deleting().facts(), UID)
    assert (found.succeeded, str(found.reason), found.retryable, found.counts) == expected


@pytest.mark.parametrize("status", [kubelet.running(), kubelet.tainted(), kubelet.drained() | {"phase": "Running"}])
def test_a_pod_that_is_given_up_was_lost_with_its_node(status: Json) -> None:
    found = judge(make_pod().on_node("n1").with_status(status).deleting().facts(), UID, lost=True)
    assert (found.reason, found.retryable, found.counts) == ("NodeLost", True, False)
    assert "'n1'" in found.message


@pytest.mark.parametrize("status", [kubelet.ended(1), kubelet.evicted(), kubelet.drained()])
def test_one_that_has_said_how_it_ended_was_not_however_late_it_is(status: Json) -> None:
    pod = make_pod().with_status(status | {"phase": "Failed"}).deleting().facts()
    assert judge(pod, UID, lost=True) == judge(pod, UID)


def test_the_memory_of_a_tool_is_not_the_agents_end() -> None:
    """The node says OOMKilled of a container in which any process was killed."""
    report = make_report("Failed", "MaxTurnsExceeded", oom_kills=1)
    assert verdict(kubelet.ended(64, reason="OOMKilled", message=report))[1] == "MaxTurnsExceeded"


@pytest.mark.parametrize(("length", "cut"), [(4095, False), (4096, True)])
def test_text_that_fills_the_message_was_cut(length: int, cut: bool) -> None:
    pod = make_pod().with_status(kubelet.ended(0, message="x" * length)).facts()
    found = judge(pod, UID)
    assert result_of(pod, found.report).truncated is cut
    assert ("was cut" in found.message) is cut


@pytest.mark.parametrize(
    ("status", "text"),
    [
        pytest.param(kubelet.ended(7, message="disk on fire"), "exit code 7. It said: disk on fire", id="last-words"),
        pytest.param(kubelet.ended(7, message=RUNNING), "ended with exit code 7.", id="a-report-is-not-quoted"),
        pytest.param(kubelet.deadline_exceeded(), "`limits.activeDeadlineSeconds`", id="deadline-names-its-field"),
        pytest.param(kubelet.ended(137, reason="OOMKilled"), "`resources.memory`", id="oom-names-its-field"),
        pytest.param(kubelet.evicted(kubelet.EVICTED_DISK), "total limit of containers 5Gi", id="eviction"),
        pytest.param({"phase": "Failed", "message": "no GPU"}, "no GPU", id="the-pods-own-message"),
        pytest.param({"phase": "Failed"}, "was stopped before its agent could finish", id="nothing-known"),
    ],
)
def test_message(status: Json, text: str) -> None:
    assert text in judge(make_pod().with_status(status).facts(), UID).message


def test_long_last_words_are_cut() -> None:
    found = judge(make_pod().with_status(kubelet.ended(1, message="x" * 4096)).facts(), UID)
    assert len(found.message) < 600


def ended(message: str, exit_code: int = 0) -> Ended:
    """Return the end of a container that left this message."""
    return Ended(exit_code, "", message, None)


def deep(depth: int) -> str:
    """Return a report whose answer nests so deep."""
    answer = '{"a":' * depth + "1" + "}" * depth
    head = f'{{"version":1,"sessionId":"{UID}","outcome":"Succeeded","reason":"Completed"'
    return f'{head},"result":{{"structured":{answer}}}}}'


@pytest.mark.parametrize(
    "message",
    [
        pytest.param("", id="empty"),
        pytest.param("4 files", id="text"),
        pytest.param("[1]", id="not-an-object"),
        pytest.param('{"version": 1', id="cut-off"),
        pytest.param('{"answer": 42}', id="json-of-its-own"),
        pytest.param(make_report(session_id="other"), id="another-session"),
        pytest.param('{"a":' + "[" * 4000, id="nested-without-end"),
        pytest.param(deep(600), id="nested-deeper-than-can-be-written"),
        pytest.param(make_report(usage={"turns": 10**30}), id="number-beyond-64-bits"),
        pytest.param(make_report(usage={"costUsd": "NaN"}), id="cost-not-a-number"),
    ],
)
def test_what_is_no_report(message: str) -> None:
    assert read_report(ended(message), UID) is None


def test_a_container_that_left_nothing_has_no_report() -> None:
    assert read_report(None, UID) is None


def test_a_report_may_have_white_space_around_it() -> None:
    assert read_report(ended(f"\n {make_report()} \n"), UID) is not None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, st.integers(), st.text(max_size=8))
def test_whatever_an_image_reports_the_status_can_be_written(answer: object, turns: int, cost: str) -> None:
    usage = {"turns": turns, "costUsd": cost}
    message = make_report(result={"text": "x", "structured": answer}, usage=usage)
    pod = make_pod().with_status(kubelet.ended(0, message=message)).facts()
    found = judge(pod, UID)
    status = {"result": result_of(pod, found.report).to_json(), "usage": usage_of(found.report).to_json()}
    assert found.succeeded
    assert len(json.dumps(status, allow_nan=False)) < 10_000


@given(st.text(max_size=200))
def test_any_text_is_the_result_of_an_image_that_knows_no_reports(text: str) -> None:
    pod = make_pod().with_status(kubelet.ended(0, message=f"- {text}")).facts()
    assert result_of(pod, judge(pod, UID).report) == Result(text=f"- {text}")


def test_the_result_is_the_reports() -> None:
    pod = make_pod().with_status(kubelet.ended(0, message=make_report(result={"text": "4 files"}))).facts()
    assert result_of(pod, judge(pod, UID).report) == Result(text="4 files")


def test_a_report_without_a_result_is_an_empty_one_and_never_its_own_json() -> None:
    pod = make_pod().with_status(kubelet.ended(0, message=make_report())).facts()
    assert result_of(pod, judge(pod, UID).report) == Result()


def test_usage_is_the_reports_also_when_the_agent_was_killed() -> None:
    pod = make_pod().with_status(kubelet.ended(137, reason="OOMKilled", message=RUNNING)).facts()
    assert usage_of(judge(pod, UID).report) == Usage(turns=2)
    assert usage_of(None) == Usage()
