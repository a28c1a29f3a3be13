"""How much of everything the tests do: what `make test` has time for, or what `make test-thorough` takes time for."""

import os

THOROUGH = bool(os.environ.get("AGENTSESSIONS_THOROUGH"))


def size(usual: int, thorough: int) -> int:
    """Return the number for this run."""
    return thorough if THOROUGH else usual
