"""What a store says when it cannot, how soon, and what it never says."""

import asyncio
import logging
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from claude_agent_sdk import SessionStoreEntry
from redis.asyncio import Redis

from agentrunner.stores.base import TIMEOUT_SECONDS, Store, StoreError, StoreRefused, StoreUnreachable
from stores.backends import Backend, Opener
from stores.servers import postgres, redis, s3
from stores.servers.processes import free_port
from stores.transcripts import KEY, entries

PROMPT = "a prompt that nobody else may read"
SECRET: list[SessionStoreEntry] = [{"type": "user", "uuid": PROMPT}]
SLACK = 5.0


def at(port: int) -> list[Backend]:
    """Return each kind of store at a port of this machine."""
    bucket = {"s3": {"bucket": s3.BUCKET, "endpoint": f"http://127.0.0.1:{port}"}}
    return [
        Backend("Redis", {"url": f"redis://:{redis.PASSWORD}@127.0.0.1:{port}/0"}),
        Backend("Postgres", {"url": f"postgresql://{postgres.USER}:{postgres.PASSWORD}@127.0.0.1:{port}/x"}),
        Backend("S3", {"accessKeyId": s3.ACCESS_KEY, "secretAccessKey": s3.SECRET_KEY}, None, bucket),
    ]


def calls(store: Store) -> list[Callable[[], Awaitable[object]]]:
    """Return every call that asks the server."""
    return [
        lambda: store.append(KEY, SECRET),
        lambda: store.replace(KEY, SECRET),
        lambda: store.load(KEY),
        lambda: store.count(KEY),
        lambda: store.size(KEY),
        lambda: store.delete(KEY),
        lambda: store.list_projects(),
        lambda: store.list_sessions(KEY["project_key"]),
        lambda: store.list_subkeys(KEY),
    ]


def assert_discreet(error: StoreError, backend: Backend) -> None:
    """Neither the error nor its trace has an address, a password or an entry in it."""
    told = f"{error!r} {error.reason} {''.join(traceback.format_exception(error))}"
    hidden = [*backend.secret.values(), *(backend.wrong or {}).values(), redis.PASSWORD, postgres.PASSWORD]
    hidden += [PROMPT, "127.0.0.1"]
    assert [word for word in hidden if word in told] == []


@pytest.mark.parametrize("number", range(9))
async def test_wrong_credentials_are_refused(served: Backend, opener: Opener, number: int, tmp_path: Path) -> None:
    store = opener.settled(served.settings(tmp_path / "wrong", "team/ns", served.wrong))
    with pytest.raises(StoreRefused) as caught:
        await calls(store)[number]()
    assert_discreet(caught.value, served)


@pytest.mark.parametrize("place", range(3))
async def test_a_dead_server_is_unreachable_at_once(
    tmp_path: Path, place: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    backend = at(free_port())[place]
    opener = Opener(backend, tmp_path, "ns")
    for call in calls(opener()):
        begin = time.monotonic()
        with pytest.raises(StoreUnreachable) as caught:
            await call()
        assert time.monotonic() - begin < SLACK
        assert_discreet(caught.value, backend)
    await opener.close()
    assert PROMPT not in caplog.text


async def test_a_server_that_never_answers_is_unreachable_in_time(tmp_path: Path) -> None:
    writers: list[asyncio.StreamWriter] = []

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    async def ask(backend: Backend) -> None:
        opener = Opener(backend, tmp_path / backend.kind, "ns")
        backend_folder = tmp_path / backend.kind
        backend_folder.mkdir()
        with pytest.raises(StoreUnreachable) as caught:
            await opener().append(KEY, SECRET)
        assert_discreet(caught.value, backend)
        await opener.close()

    async with await asyncio.start_server(mute, "127.0.0.1", 0) as server:
        begin = time.monotonic()
        await asyncio.gather(*map(ask, at(server.sockets[0].getsockname()[1])))
        assert time.monotonic() - begin < TIMEOUT_SECONDS + SLACK
        for writer in writers:
            writer.close()


@pytest.mark.parametrize(
    ("more", "word"),
    [({"bucket": "no-such-bucket"}, "NoSuchBucket"), ({"bucket": s3.BUCKET, "region": "eu-west-1"}, "Malformed")],
)
async def test_a_wrong_bucket_or_region_is_refused(
    s3_backend: Backend, s3_server: s3.S3Server, tmp_path: Path, more: dict[str, str], word: str
) -> None:
    backend = Backend("S3", s3_backend.secret, None, {"s3": {"endpoint": s3_server.endpoint, **more}})
    opener = Opener(backend, tmp_path, "ns")
    for call in calls(opener()):
        with pytest.raises(StoreRefused, match=word) as caught:
            await call()
        assert_discreet(caught.value, backend)
    await opener.close()


async def test_a_missing_database_is_refused(postgres_server: postgres.PostgresServer, tmp_path: Path) -> None:
    opener = Opener(Backend("Postgres", {"url": postgres_server.url(database="none")}), tmp_path, "ns")
    with pytest.raises(StoreRefused, match="database does not exist"):
        await opener().load(KEY)
    await opener.close()


async def test_a_user_who_may_not_write_is_refused(redis_server: redis.RedisServer, tmp_path: Path) -> None:
    backend = Backend("Redis", {"url": redis_server.url(redis.READER, "reader")})
    opener = Opener(backend, tmp_path, "ns")
    store = opener()
    assert await store.load(KEY) is None
    with pytest.raises(StoreRefused, match="lacks a right") as caught:
        await store.append(KEY, SECRET)
    assert_discreet(caught.value, backend)
    await opener.close()


async def test_a_full_redis_takes_no_entries_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    with redis.serve(tmp_path / "server") as server:
        opener = Opener(Backend("Redis", {"url": server.url()}), tmp_path, "ns")
        async with Redis.from_url(server.url()) as client:
            await client.config_set("maxmemory", "1")
        with pytest.raises(StoreRefused, match="memory is full"):
            await opener().append(KEY, SECRET)
        await opener.close()


async def test_a_server_that_was_started_anew_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setattr("stores.servers.processes.free_port", lambda: port)
    folders = [tmp_path / "first", tmp_path / "second"]
    opener = Opener(at(port)[0], tmp_path, "ns")
    store = opener()
    for folder in folders:
        folder.mkdir()
        with redis.serve(folder):
            await _in_the_end(store.append, KEY, entries(1))
            assert await store.count(KEY) == 1
        with pytest.raises(StoreUnreachable):
            await store.count(KEY)
    await opener.close()


async def test_connections_that_postgres_ended_are_made_anew(
    postgres_server: postgres.PostgresServer, postgres_backend: Backend, tmp_path: Path, namespace: str
) -> None:
    opener = Opener(postgres_backend, tmp_path, namespace)
    store = opener()
    await store.append(KEY, entries(1))
    await postgres_server.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    await _in_the_end(store.append, KEY, entries(1, 1))
    assert await store.load(KEY) == entries(2)
    await opener.close()


async def test_an_entry_that_is_damaged_is_told(postgres_backend: Backend, tmp_path: Path, namespace: str) -> None:
    opener = Opener(postgres_backend, tmp_path, namespace)
    await opener().append(KEY, SECRET)
    connection: Any = await asyncpg.connect(postgres_backend.secret["url"].strip())
    await connection.execute(
        "UPDATE agentsessions_entries SET entry = '[1' FROM agentsessions_transcripts "
        "WHERE id = transcript AND prefix = $1",
        f"team/{namespace}",
    )
    await connection.close()
    with pytest.raises(StoreError, match="no entry of a transcript"):
        await opener().load(KEY)
    await opener.close()


async def _in_the_end(call: Callable[..., Awaitable[None]], *arguments: object) -> None:
    """Call once more if the first call meets a connection that is gone."""
    try:
        await call(*arguments)
    except StoreUnreachable:
        await call(*arguments)
