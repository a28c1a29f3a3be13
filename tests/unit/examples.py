"""How hard the property tests look: a little in every run, and the same each time; long, and by chance, when asked."""

import os

from hypothesis import HealthCheck, settings

THOROUGH = bool(os.environ.get("AGENTSESSIONS_THOROUGH"))


def looking(examples: int, steps: int = 50) -> settings:
    """Return settings for so many examples, fifty times as many when all is to be thorough."""
    return settings(
        deadline=None,
        max_examples=examples * (50 if THOROUGH else 1),
        stateful_step_count=steps,
        derandomize=not THOROUGH,
        suppress_health_check=[HealthCheck.too_slow],
    )
