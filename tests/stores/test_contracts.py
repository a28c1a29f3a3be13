"""Every kind of store keeps the contracts of the SDK, and ours."""

from collections.abc import Iterator
from itertools import count

import pytest
from claude_agent_sdk.testing import run_session_store_conformance

from agentrunner.stores.contracts import CONTRACTS, Contract, answers
from stores.backends import Opener


@pytest.fixture
def numbers() -> Iterator[int]:
    """Numbers for prefixes."""
    return count()


async def test_the_sdk_finds_its_contracts_kept(opened: Opener, numbers: Iterator[int]) -> None:
    await run_session_store_conformance(lambda: opened(f"sdk-{next(numbers)}"))


@pytest.mark.parametrize("contract", [answers, *CONTRACTS], ids=lambda contract: contract.__name__)
async def test_our_contracts_are_kept(opened: Opener, contract: Contract) -> None:
    await contract(opened)
