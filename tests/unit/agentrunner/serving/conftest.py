"""Fixtures of what agents serve."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from unit.agentrunner.serving.served import Agent


@pytest.fixture
async def agent() -> AsyncIterator[Agent]:
    """Return an agent that serves nothing yet."""
    async with AsyncExitStack() as stack:
        yield Agent(stack)
