"""Arithmetic of tokens and dollars."""

from decimal import Decimal

import pytest

from agentrunner.usage import ZERO, Meter, read_meter, total, used_since
from agentsessions.api.status import Usage

BEFORE = Meter(1000, 100, 10, 1, Decimal("0.03"))


def test_a_reading_sums_all_models() -> None:
    models = {
        "opus": {"inputTokens": 10, "outputTokens": 1, "cacheReadInputTokens": 5, "cacheCreationInputTokens": 2},
        "haiku": {"inputTokens": 20, "outputTokens": 2},
    }
    assert read_meter(0.024, models) == Meter(30, 3, 5, 2, Decimal("0.024"))


def test_nothing_said_is_nothing_used() -> None:
    assert read_meter(None, None) == ZERO


def test_an_attempt_pays_only_for_what_came_after_it_connected() -> None:
    now = Meter(3000, 150, 30, 4, Decimal("0.036"))
    assert used_since(BEFORE, now, turns=2) == Usage(
        turns=2,
        input_tokens=2000,
        output_tokens=50,
        cache_read_tokens=20,
        cache_creation_tokens=3,
        cost_usd="0.006",
    )


def test_a_counter_that_was_reset_counts_from_zero() -> None:
    now = Meter(500, 50, 0, 0, Decimal("0.01"))
    assert used_since(BEFORE, now, turns=1) == Usage(turns=1, input_tokens=500, output_tokens=50, cost_usd="0.01")


@pytest.mark.parametrize(
    ("amount", "text"),
    [("0", "0"), ("0.1", "0.1"), ("10", "10"), ("100.50", "100.5"), ("0.0000004", "0"), ("1E-6", "0.000001")],
)
def test_dollars_are_plain_decimals(amount: str, text: str) -> None:
    assert used_since(ZERO, Meter(cost_usd=Decimal(amount)), turns=0).cost_usd == text


def test_a_sum_is_exact() -> None:
    parts = [Usage(turns=1, input_tokens=10, cost_usd="0.1"), Usage(turns=2, output_tokens=5, cost_usd="0.2")]
    assert total(parts) == Usage(turns=3, input_tokens=10, output_tokens=5, cost_usd="0.3")
