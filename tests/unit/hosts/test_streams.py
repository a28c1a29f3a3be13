"""Following hosts over real HTTP: what is known, what is told, and what happens when streams end."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsessions.api.host import HostSession, Phase, Scope
from agentsessions.hosts.client import HostClient
from agentsessions.hosts.sse import ServerEvent, server_events
from agentsessions.hosts.streams import HostStreams
from agentsessions.hosts.views import HostView
from unit.hosts.fakehost import FakeHost, make_host_session, serving, until
from unit.operator_at_work import finish

ONE = "00000000-0000-4000-8000-000000000001"
TWO = "00000000-0000-4000-8000-000000000002"


@dataclass
class Ear:
    """Streams, and what they told."""

    streams: HostStreams
    sessions: list[tuple[str, bool]] = field(default_factory=list)
    hosts: list[HostView] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.streams.on_session = self._on_session
        self.streams.on_host = self.hosts.append

    def _on_session(self, view: HostView, session: HostSession) -> None:
        self.sessions.append((str(session.session_id), str(session.session_id) in view.sessions))


def listen(client: HostClient, scope: Scope = Scope.HOST) -> Ear:
    """Return streams that connect again at once."""
    return Ear(HostStreams(client, scope, first_backoff=0.01))


async def test_the_snapshot_comes_first_then_news_then_removals() -> None:
    host = FakeHost(sessions={ONE: make_host_session(ONE)})
    async with serving(host) as client:
        ear = listen(client, Scope.WATCH)
        ear.streams.follow([host.address])
        await until(lambda: ear.streams.session(ONE, host.uid))
        host.tell(make_host_session(TWO, phase=Phase.RUNNING))
        await until(lambda: ear.streams.session(TWO, host.uid))
        host.say("removed", {"sessionId": ONE})
        await until(lambda: not ear.streams.holders(ONE))
        assert [view.address.uid for view in ear.streams.holders(TWO)] == [host.uid]
        await ear.streams.close()
    assert ear.sessions == [(ONE, True), (TWO, True), (ONE, False)]
    assert host.scopes == ["watch"]


async def test_a_stream_that_ends_is_taken_up_again_and_the_new_snapshot_replaces_everything() -> None:
    host = FakeHost(sessions={ONE: make_host_session(ONE)})
    async with serving(host) as client:
        ear = listen(client)
        ear.streams.follow([host.address])
        await until(lambda: ear.streams.session(ONE, host.uid))
        host.sessions, host.incarnation = {TWO: make_host_session(TWO)}, "two"
        host.hang_up()
        await until(lambda: ear.streams.session(TWO, host.uid))
        view = ear.streams.host(host.uid)
        assert view is not None
        assert (set(view.sessions), view.incarnation) == ({TWO}, "two")
        await ear.streams.close()
    assert [view.connected for view in ear.hosts] == [True, False, True]
    assert (ONE, False) in ear.sessions


async def test_while_a_host_is_silent_what_it_said_still_stands() -> None:
    host = FakeHost(sessions={ONE: make_host_session(ONE)})
    async with serving(host) as client:
        ear = listen(client)
        ear.streams.follow([host.address])
        await until(lambda: ear.streams.session(ONE, host.uid))
        host.refusal = ("draining", 503)
        host.hang_up()
        await until(lambda: any(not view.connected for view in ear.hosts))
        assert ear.streams.session(ONE, host.uid) is not None
        host.refusal = None
        await until(lambda: ear.hosts[-1].connected)
        await ear.streams.close()


async def test_a_host_that_is_gone_is_forgotten_with_its_sessions() -> None:
    gone, left = FakeHost(sessions={ONE: make_host_session(ONE)}), FakeHost("chat-1", "pod-uid-1")
    async with serving(gone, left) as client:
        ear = listen(client)
        ear.streams.follow([gone.address, left.address])
        await until(lambda: len(ear.hosts) == 2)
        ear.streams.follow([left.address])
        assert ear.streams.host(gone.uid) is None
        assert ear.sessions[-1] == (ONE, False)
        assert [view.address.uid for view in ear.streams.hosts()] == [left.uid]
        await ear.streams.close()


async def test_following_the_same_again_keeps_the_connection_and_another_address_makes_a_new_one() -> None:
    host = FakeHost()
    async with serving(host) as client:
        ear = listen(client)
        for _ in range(3):
            ear.streams.follow([host.address])
            await until(lambda: ear.hosts)
        assert host.connections == 1
        ear.streams.follow([replace(host.address, ip="localhost")])
        await until(lambda: host.connections == 2)
        await ear.streams.close()


async def test_draining_is_told_of_hosts_and_unknown_events_are_let_pass() -> None:
    host = FakeHost()
    async with serving(host) as client:
        ear = listen(client)
        ear.streams.follow([host.address])
        await until(lambda: ear.hosts)
        host.say("of-tomorrow", {"x": 1})
        host.say("host", {"draining": True})
        await until(lambda: ear.hosts[-1].draining)
        assert host.connections == 1
        await ear.streams.close()


@pytest.mark.parametrize("chunk", [b"data: {\n\n", b'event: removed\ndata: {"x": 1}\n\n', b"event: host\ndata: []\n\n"])
async def test_what_cannot_be_read_ends_the_stream_and_not_the_follower(chunk: bytes) -> None:
    host = FakeHost()
    async with serving(host) as client:
        ear = listen(client)
        ear.streams.follow([host.address])
        await until(lambda: ear.hosts)
        host.say_raw(chunk)
        await until(lambda: host.connections == 2)
        await ear.streams.close()


async def test_what_a_host_answered_is_known_before_its_stream_says_so() -> None:
    host = FakeHost()
    async with serving(host) as client:
        ear = listen(client)
        ear.streams.learn("nobody", make_host_session(ONE), None)
        ear.streams.follow([host.address])
        ear.streams.learn(host.uid, make_host_session(ONE), None)
        assert ear.streams.session(ONE, host.uid) is None, "a host that has not spoken has not been asked"
        await until(lambda: ear.hosts)
        ear.streams.learn(host.uid, make_host_session(ONE), None)
        assert ear.streams.session(ONE, host.uid) is not None
        await ear.streams.close()


async def test_an_answer_does_not_take_back_what_the_stream_has_said_meanwhile() -> None:
    host = FakeHost(sessions={ONE: make_host_session(ONE)})
    async with serving(host) as client:
        ear = listen(client)
        ear.streams.follow([host.address])
        await until(lambda: ear.streams.session(ONE, host.uid))
        asked = ear.streams.session(ONE, host.uid)
        host.tell(make_host_session(ONE, phase=Phase.SUSPENDED, put_away=True))
        await until(lambda: ear.streams.session(ONE, host.uid) != asked)
        ear.streams.learn(host.uid, make_host_session(ONE, phase=Phase.RUNNING), asked)
        known = ear.streams.session(ONE, host.uid)
        assert known is not None
        assert known.put_away
        await ear.streams.close()


def events_of(chunks: list[bytes]) -> list[ServerEvent]:
    """Return the events that come of chunks."""

    async def arriving() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def collected() -> list[ServerEvent]:
        return [event async for event in server_events(arriving())]

    return list(finish(collected()))


TEXT = ": heartbeat\n\nevent: a\r\ndata: 1\ndata: 2\r\n\r\nid: 7\n\ndata:é\n\ndata: unfinished\n".encode()


@given(st.lists(st.integers(0, len(TEXT))))
def test_events_are_the_same_however_they_are_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(TEXT)]
    chunks = [TEXT[a:b] for a, b in pairwise(edges)]
    assert events_of(chunks) == [ServerEvent("a", "1\n2"), ServerEvent("message", "é")]


def test_an_event_without_an_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentsessions.hosts.sse.MAX_EVENT_BYTES", 10)
    with pytest.raises(ValueError, match="no end"):
        events_of([b"data: 1234", b"5"])


async def test_any_number_of_hosts_is_followed_and_there_is_room_for_calls() -> None:
    host = FakeHost()
    async with serving(host) as client, AsyncExitStack() as stack:
        for _ in range(150):
            await stack.enter_async_context(client.events(host.address, Scope.HOST))
        assert host.connections == 150
        assert (await client.snapshot(host.address)).pod_uid == host.uid
