"""Adding up what attempts used."""

from decimal import Decimal, InvalidOperation

from agentsessions.api.status import Usage


def cost(usage: Usage | None) -> Decimal:
    """Return the price in US dollars; what cannot be read as a price is none."""
    try:
        return Decimal(usage.cost_usd) if usage else Decimal(0)
    except InvalidOperation:
        return Decimal(0)


def total(before: Usage | None, attempt: Usage) -> Usage:
    """Return the session's usage with an attempt's own added."""
    if before is None:
        return attempt
    return Usage(
        turns=before.turns + attempt.turns,
        input_tokens=before.input_tokens + attempt.input_tokens,
        output_tokens=before.output_tokens + attempt.output_tokens,
        cache_read_tokens=before.cache_read_tokens + attempt.cache_read_tokens,
        cache_creation_tokens=before.cache_creation_tokens + attempt.cache_creation_tokens,
        cost_usd=f"{cost(before) + cost(attempt):f}",
    )


def since(before: Usage | None, now: Usage | None) -> Usage:
    """Return the turns and tokens between two counts of the same session; none where a count fell."""
    old, new = before or Usage(), now or Usage()
    return Usage(
        turns=max(0, new.turns - old.turns),
        input_tokens=max(0, new.input_tokens - old.input_tokens),
        output_tokens=max(0, new.output_tokens - old.output_tokens),
        cache_read_tokens=max(0, new.cache_read_tokens - old.cache_read_tokens),
        cache_creation_tokens=max(0, new.cache_creation_tokens - old.cache_creation_tokens),
    )
