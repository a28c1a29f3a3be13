"""Fixtures: a model that is scripted by the prompt, and a container or a host that uses it.

Everything but the model is real: the runner as the image starts it, the SDK, and its `claude` CLI.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.container import Container
from agent.host import Host
from agent.kept import Kept
from agent.model import Model, serve


@pytest.fixture
async def model() -> AsyncIterator[Model]:
    """Return a model stand-in of this test's own."""
    async with serve() as served:
        yield served


@pytest.fixture
def container(tmp_path: Path, model: Model) -> Container:
    """Return an empty volume and the means to run containers on it."""
    return Container(tmp_path, model.url)


@pytest.fixture
async def host(tmp_path: Path, model: Model) -> AsyncIterator[Host]:
    """Return a running host."""
    found = Host(tmp_path, model.url)
    await found.start()
    try:
        yield found
    finally:
        await found.destroy()


@pytest.fixture
async def kept(tmp_path: Path, model: Model) -> AsyncIterator[Kept]:
    """Return a running host whose sessions are kept in a store."""
    found = Kept(tmp_path, model)
    await found.host.start()
    try:
        yield found
    finally:
        await found.host.destroy()
