"""The operator's half of a session host against the real one: handing over, following, and a host that is killed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest

from agent.host import Host, Talk
from agent.model import Model
from agentsessions.api.host import Activation, Beginning, HostSession, Phase, Scope
from agentsessions.api.status import Transcript
from agentsessions.hosts.client import HostAddress, HostClient
from agentsessions.hosts.errors import HostFull, Misdirected, TranscriptMissing
from agentsessions.hosts.streams import HostStreams
from agentsessions.hosts.tokens import Signer

pytestmark = pytest.mark.timeout(180)


@dataclass
class Side:
    """The operator's side of one host."""

    host: Host
    client: HostClient
    streams: HostStreams
    address: HostAddress

    def session(self, session_id: str) -> HostSession | None:
        """Return what the stream told of a session."""
        return self.streams.session(session_id, self.address.uid)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something holds."""
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
                await asyncio.sleep(0.05)


@asynccontextmanager
async def beside(host: Host) -> AsyncIterator[Side]:
    """Start the host, and follow it."""
    await host.start()
    address = HostAddress("chat-0", host.plane.pod_uid, "127.0.0.1", host.port)
    async with aiohttp.ClientSession() as http:
        client = HostClient(http, Signer(host.plane.keys))
        streams = HostStreams(client, Scope.HOST)
        streams.follow([address])
        try:
            yield Side(host, client, streams, address)
        finally:
            await streams.close()
            await host.destroy()


@pytest.fixture
async def side(tmp_path: Path, model: Model) -> AsyncIterator[Side]:
    """Return a host with room for one session, and its operator."""
    async with beside(Host(tmp_path, model.url, sessionsPerHost=1)) as made:
        yield made


def activation(session_id: str, **fields: object) -> Activation:
    """Return what a host is told of a session."""
    base = {"version": 1, "session_id": session_id, "namespace": "team", "name": "talk"}
    return Activation.model_validate(base | fields)


@pytest.mark.requirement("K03", "H37")
async def test_a_session_is_handed_over_followed_lost_found_and_taken_back(side: Side) -> None:
    one = str(uuid4())
    given = await side.client.activate(side.address, activation(one))
    assert (given.beginning, given.phase) == (Beginning.FRESH, Phase.IDLE)
    await side.until(lambda: side.session(one))

    await Talk(side.host, one).say("hello")
    await side.until(lambda: (told := side.session(one)) and told.phase is Phase.IDLE and told.transcript)
    told = side.session(one)
    assert told is not None
    assert told.last_activity_time is not None

    view = side.streams.host(side.address.uid)
    assert view is not None
    await side.host.kill()
    await side.until(lambda: not side.streams.host(side.address.uid).connected)  # type: ignore[union-attr]
    assert side.session(one) is not None, "what it said still stands"
    await side.host.start()
    await side.until(lambda: side.streams.host(side.address.uid).connected)  # type: ignore[union-attr]
    assert side.streams.host(side.address.uid).incarnation != view.incarnation  # type: ignore[union-attr]
    again = await side.client.activate(side.address, activation(one, usage=told.usage, transcript=told.transcript))
    assert again.beginning is Beginning.RESUMED
    assert (again.usage, told.usage.turns > 0) == (told.usage, True)

    await side.client.delete(side.address, one, "delete")
    await side.until(lambda: side.session(one) is None)


async def test_refusals_of_the_real_host_are_what_the_operator_takes_them_for(side: Side) -> None:
    one, two = str(uuid4()), str(uuid4())
    known = Transcript(entries=3, last_entry_digest="sha256:" + "0" * 64)
    with pytest.raises(TranscriptMissing):
        await side.client.activate(side.address, activation(one, transcript=known))
    lost = await side.client.activate(
        side.address, activation(one, transcript=known, on_missing_transcript="StartFresh")
    )
    assert lost.beginning is Beginning.LOST
    with pytest.raises(HostFull):
        await side.client.activate(side.address, activation(two))
    other = HostAddress("chat-0", "uid-of-another-pod", side.address.ip, side.address.port)
    with pytest.raises(Misdirected):
        await side.client.activate(other, activation(one))
    assert [str(s.session_id) for s in (await side.client.snapshot(side.address)).sessions] == [one]
    assert not (await side.client.suspend(side.address, one, patient=True)).put_away
    async with asyncio.timeout(60):
        while not (away := await side.client.get(side.address, one)).put_away:  # noqa: ASYNC110 - the host does it
            await asyncio.sleep(0.05)
    assert away.phase is Phase.SUSPENDED
