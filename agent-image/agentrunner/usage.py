"""Arithmetic of tokens and dollars. Pure.

The CLI counts for a whole session: on a resume from local disk it goes on from where the last process stood. An
attempt's share is therefore always the difference to what the CLI said right after it connected.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from agentsessions.api.status import Usage

_CENT_FRACTION = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Meter:
    """A reading of the CLI's counters."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    cost_usd: Decimal = Decimal(0)


ZERO = Meter()


def read_meter(total_cost_usd: float | None, model_usage: Mapping[str, Any] | None) -> Meter:
    """Return the reading in a result message or in the answer to a usage request."""
    models = list((model_usage or {}).values())
    return Meter(
        input_tokens=_sum(models, "inputTokens"),
        output_tokens=_sum(models, "outputTokens"),
        cache_read_tokens=_sum(models, "cacheReadInputTokens"),
        cache_creation_tokens=_sum(models, "cacheCreationInputTokens"),
        cost_usd=Decimal(str(total_cost_usd or 0)),
    )


def _sum(models: Iterable[Mapping[str, Any]], field: str) -> int:
    return sum(int(model.get(field) or 0) for model in models)


def used_since(start: Meter, now: Meter, turns: int) -> Usage:
    """Return what was used between two readings; a counter that fell was reset, and counts from zero."""
    return Usage(
        turns=turns,
        input_tokens=_grown(start.input_tokens, now.input_tokens),
        output_tokens=_grown(start.output_tokens, now.output_tokens),
        cache_read_tokens=_grown(start.cache_read_tokens, now.cache_read_tokens),
        cache_creation_tokens=_grown(start.cache_creation_tokens, now.cache_creation_tokens),
        cost_usd=_dollars(now.cost_usd - start.cost_usd if now.cost_usd >= start.cost_usd else now.cost_usd),
    )


def _grown(start: int, now: int) -> int:
    return now - start if now >= start else now


def _dollars(amount: Decimal) -> str:
    """Return dollars as a plain decimal without trailing zeros, to a millionth."""
    text = f"{amount.quantize(_CENT_FRACTION):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def total(parts: Iterable[Usage]) -> Usage:
    """Return the sum."""
    items = list(parts)
    return Usage(
        turns=sum(u.turns for u in items),
        input_tokens=sum(u.input_tokens for u in items),
        output_tokens=sum(u.output_tokens for u in items),
        cache_read_tokens=sum(u.cache_read_tokens for u in items),
        cache_creation_tokens=sum(u.cache_creation_tokens for u in items),
        cost_usd=_dollars(sum((Decimal(u.cost_usd) for u in items), Decimal(0))),
    )
