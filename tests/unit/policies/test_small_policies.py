"""Admission, restart, backoff, deadline, retention and spending: each a table."""

from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsessions.api.config import Backoff, OperatorConfig
from agentsessions.api.session import AgentSession, AgentSessionSpec
from agentsessions.api.status import Usage
from agentsessions.policies import admission, deadline, nodeloss, restart, retention, spending
from agentsessions.policies.outcome import Verdict
from unit.make import NOW, later, make_session, make_settings

NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"


@pytest.mark.parametrize(
    ("given", "seconds", "waits"),
    [
        ([], 60, {NOT_READY: 60, UNREACHABLE: 60}),
        ([], None, {}),
        ([{"key": "gpu", "effect": "NoSchedule"}], 0, {"gpu": None, NOT_READY: 0, UNREACHABLE: 0}),
        (
            [{"key": NOT_READY, "effect": "NoExecute", "tolerationSeconds": 900}],
            60,
            {NOT_READY: 900, UNREACHABLE: 60},
        ),
        ([{"operator": "Exists"}], 60, {None: None}),
    ],
)
def test_what_a_user_says_of_lost_nodes_holds(
    given: list[dict[str, object]], seconds: int | None, waits: dict[str | None, int | None]
) -> None:
    found = nodeloss.tolerations(given, seconds)
    assert {one.get("key"): one.get("tolerationSeconds") for one in found} == waits


def problem(session: AgentSession, config: OperatorConfig | None = None, **template: object) -> str | None:
    """Return what admission says of a session."""
    settings = make_settings(session, config, **template) if config else make_settings(session, **template)
    return admission.problem(session.spec, settings)


def test_nothing_is_wrong_with_the_smallest_session() -> None:
    assert problem(make_session().build()) is None


def test_a_session_without_a_model_endpoint_is_told_where_to_set_one() -> None:
    text = problem(make_session().build(), OperatorConfig())
    assert text is not None
    assert "`modelEndpoint.baseUrl` must be set" in text
    assert "AgentTemplate" in text


@pytest.mark.parametrize(
    ("prompt", "variable", "well"),
    [
        pytest.param("x" * 131_000, "TASK_PROMPT", True, id="just-fits"),
        pytest.param("x" * 131_001, "TASK_PROMPT", False, id="one-byte-too-long"),
        pytest.param("é" * 65_501, "TASK_PROMPT", False, id="bytes-count-not-characters"),
        pytest.param("x" * 200_000, None, True, id="a-file-takes-more"),
    ],
)
def test_a_prompt_that_goes_into_a_variable_must_fit(prompt: str, variable: str | None, well: bool) -> None:
    session = make_session().with_spec(prompt=prompt)
    text = problem((session.with_spec(prompt_environment_variable=variable) if variable else session).build())
    assert (text is None) is well
    assert text is None or "`prompt` has" in text


def test_a_prompt_in_a_secret_is_not_ours_to_measure() -> None:
    session = make_session().with_prompt_secret("s").with_spec(prompt_environment_variable="P").build()
    assert problem(session) is None


def spec(**fields: object) -> AgentSessionSpec:
    """Return a spec."""
    return make_session().with_spec(**fields).build().spec


def failure(retryable: bool = True, counts: bool = True) -> Verdict:
    """Return the end of an attempt that did not succeed."""
    return Verdict(False, "AgentFailed", "", retryable, counts)


@pytest.mark.parametrize(
    ("fields", "verdict", "failures", "retry"),
    [
        pytest.param({}, failure(), 1, True, id="first-failure"),
        pytest.param({}, failure(), 3, True, id="last-retry"),
        pytest.param({}, failure(), 4, False, id="limit-reached"),
        pytest.param({"backoff_limit": 0}, failure(), 1, False, id="no-retry-allowed"),
        pytest.param({"restart_policy": "Never"}, failure(), 1, False, id="never"),
        pytest.param({"restart_policy": "Never"}, failure(counts=False), 0, False, id="never-not-even-when-evicted"),
        pytest.param({}, failure(retryable=False), 1, False, id="for-good"),
        pytest.param({"backoff_limit": 0}, failure(counts=False), 0, True, id="evictions-do-not-count"),
        pytest.param({"backoff_limit": 1}, failure(counts=False), 9, True, id="not-even-after-failures"),
        pytest.param({}, Verdict(True, "Completed", "", retryable=True), 0, False, id="success-is-not-repeated"),
    ],
)
def test_whether_another_attempt_follows(
    fields: dict[str, object], verdict: Verdict, failures: int, retry: bool
) -> None:
    assert restart.may_retry(spec(**fields), verdict, failures) is retry


@pytest.mark.parametrize(
    ("failures", "disruptions", "seconds"),
    [
        pytest.param(0, 0, 0, id="nothing-happened"),
        pytest.param(0, 1, 0, id="the-first-disruption-is-free"),
        pytest.param(0, 2, 10, id="the-second-is-not"),
        pytest.param(1, 0, 10, id="first-failure"),
        pytest.param(2, 0, 20, id="second"),
        pytest.param(3, 1, 40, id="third"),
        pytest.param(3, 2, 80, id="both-add-up"),
        pytest.param(6, 0, 300, id="capped"),
        pytest.param(10_000, 10_000, 300, id="any-number"),
    ],
)
def test_how_long_the_next_attempt_waits(failures: int, disruptions: int, seconds: int) -> None:
    assert restart.delay(Backoff(), failures=failures, disruptions=disruptions) == timedelta(seconds=seconds)


@given(st.uuids(), st.integers(0, 20), st.integers(0, 20))
def test_a_pause_is_shorter_by_chance_and_the_same_for_whoever_asks(uid: UUID, failures: int, disruptions: int) -> None:
    nominal = restart.delay(Backoff(), failures=failures, disruptions=disruptions)
    found = restart.pause(Backoff(), str(uid), failures=failures, disruptions=disruptions)
    assert nominal * 0.75 <= found <= nominal
    assert found == restart.pause(Backoff(), str(uid), failures=failures, disruptions=disruptions)


def test_sessions_that_failed_together_come_back_one_after_another() -> None:
    pauses = {restart.pause(Backoff(), f"uid-{n}", failures=1, disruptions=0) for n in range(100)}
    assert len(pauses) == 100
    assert max(pauses) - min(pauses) > timedelta(seconds=2)


@given(st.integers(0, 50), st.integers(0, 50))
def test_waiting_never_gets_shorter(failures: int, disruptions: int) -> None:
    def wait(f: int, d: int) -> timedelta:
        return restart.delay(Backoff(), failures=f, disruptions=d)

    assert wait(failures, disruptions) <= min(wait(failures + 1, disruptions), wait(failures, disruptions + 1))


@pytest.mark.parametrize(
    ("start", "seconds", "left"),
    [
        pytest.param(NOW, None, None, id="no-bound"),
        pytest.param(None, 60, 60, id="nothing-started"),
        pytest.param(later(-20), 60, 40, id="under-way"),
        pytest.param(later(-60), 60, 0, id="just-over"),
        pytest.param(later(-90), 60, -30, id="over"),
    ],
)
def test_deadline(start: datetime | None, seconds: int | None, left: int | None) -> None:
    assert deadline.remaining(start, seconds, NOW) == (None if left is None else timedelta(seconds=left))
    assert deadline.is_over(start, seconds, NOW) == (left is not None and left <= 0)


@pytest.mark.parametrize(
    ("ttl", "age", "left"), [(None, 10**6, None), (60, 20, 40), (60, 60, 0), (0, 0, 0), (0, 5, -5)]
)
def test_time_to_live(ttl: int | None, age: int, left: int | None) -> None:
    found = retention.time_to_live(spec(ttl_seconds_after_finished=ttl), later(-age), NOW)
    assert found == (None if left is None else timedelta(seconds=left))


USED = Usage(turns=2, input_tokens=3, output_tokens=5, cache_read_tokens=7, cache_creation_tokens=11, cost_usd="0.0123")
MORE = Usage(
    turns=4, input_tokens=6, output_tokens=10, cache_read_tokens=14, cache_creation_tokens=22, cost_usd="0.0246"
)


@pytest.mark.parametrize(
    ("before", "attempt", "total"),
    [
        pytest.param(None, USED, USED, id="first-attempt"),
        pytest.param(USED, USED, MORE, id="attempts-add-up"),
        pytest.param(USED, Usage(), USED, id="an-attempt-without-report-adds-nothing"),
    ],
)
def test_spending(before: Usage | None, attempt: Usage, total: Usage) -> None:
    assert spending.total(before, attempt) == total


@given(st.decimals(0, 1000, places=6), st.decimals(0, 1000, places=6))
def test_money_is_added_without_loss(one: Decimal, other: Decimal) -> None:
    total = spending.total(Usage(cost_usd=str(one)), Usage(cost_usd=str(other)))
    assert Decimal(total.cost_usd) == one + other
    assert "E" not in total.cost_usd


@pytest.mark.parametrize(("text", "price"), [("0.5", "0.5"), ("", "0"), ("a lot", "0"), ("0", "0")])
def test_what_cannot_be_read_as_a_price_is_none(text: str, price: str) -> None:
    assert spending.cost(Usage(cost_usd=text)) == Decimal(price)
    assert spending.cost(None) == 0
