"""One upstream and one proxy for each test that asks for them."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from egress import proxy, upstream

KEY = "sk-first-key-of-the-test"


@pytest.fixture
async def model() -> AsyncIterator[upstream.Upstream]:
    """A model API in plain text on loopback."""
    async with upstream.serving() as server:
        yield server


@pytest.fixture
async def egress(model: upstream.Upstream) -> AsyncIterator[proxy.Proxy]:
    """The proxy with the chart's default settings in front of `model`."""
    async with proxy.running(KEY, model.address()) as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client, as an agent would have one; every wait of it is bounded."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield session
