"""What nothing owns and nobody needs is removed; what only looks so is not."""

import pytest

from e2e.api import PODS
from e2e.leftovers import Leftovers
from e2e.operator_pod import NAMESPACE
from e2e.waiting import eventually


@pytest.mark.timeout(1200)
@pytest.mark.requirement("K01", "K02")
def test_leftovers_that_nobody_needs_are_removed_and_no_others(leftovers: Leftovers) -> None:
    """An operator sweeps when it begins to lead, and every ten minutes."""
    leftovers.grow_old()
    operator = leftovers.lab.operator
    operator.keep_evidence()
    leftovers.lab.api.delete(PODS, NAMESPACE, operator.pod()["metadata"]["name"])
    eventually(lambda: leftovers.left(leftovers.stale), lambda left: not left, "the end of what nobody needs")
    operator.wait_ready()
    assert leftovers.left(leftovers.kept) == [name for _, name in leftovers.kept]
