"""Sessions in Redis or Valkey.

| name | type | holds |
|---|---|---|
| `{session}` and `{session}/{subpath}` | list | the entries |
| `{session}/:bytes` | hash | subpath (empty for the session's own transcript) to bytes of its entries |
| `{session}/:epoch` | string | number of the last claim |
| `{project}/:sessions` | sorted set | session ids by the time of their last change |
| `{prefix}/:projects` | set | project keys |

Nothing is ever found by SCAN or KEYS. What belongs together is written in one MULTI/EXEC; a session that is claimed is
written under a WATCH of its epoch, so that no write slips past a later claim.
"""

from collections.abc import Callable
from typing import Any

from claude_agent_sdk import SessionKey, SessionListSubkeysKey, SessionStoreEntry, SessionStoreListEntry
from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from agentrunner.stores.base import TIMEOUT_SECONDS, Store, StoreError, StoreRefused, StoreUnreachable
from agentrunner.stores.bounded import bounded
from agentrunner.stores.claims import Claims, require
from agentrunner.stores.codec import decode_all, encode
from agentrunner.stores.keys import Keys, subpath
from agentrunner.stores.stamps import Stamps

_CONNECT_SECONDS = 5.0
_CONNECTIONS = 16
_MILLISECOND = 1_000_000


class ValkeyStore(Store):
    """A session store in Redis or Valkey."""

    def __init__(self, url: str, prefix: str) -> None:
        self._keys = Keys(prefix)
        self._stamps = Stamps(_MILLISECOND)
        self._claims = Claims()
        self._projects = f"{self._keys.prefix}/:projects"
        self._client = Redis.from_pool(_pool(url))

    async def claim(self, key: SessionListSubkeysKey, epoch: int) -> None:
        name = self._epoch(key)

        async def take(pipe: Pipeline) -> None:
            require(epoch, int(await pipe.get(name) or 0))
            pipe.multi()  # type: ignore[no-untyped-call]
            pipe.set(name, epoch)

        async with bounded(explain):
            await self._client.transaction(take, name)
        self._claims.made(key, epoch)

    def release(self, key: SessionListSubkeysKey) -> None:
        self._claims.dropped(key)

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        lines = [encode(entry) for entry in entries]
        if lines:
            await self._write(key, lambda pipe: self._add(pipe, key, lines))

    async def replace(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        lines = [encode(entry) for entry in entries]

        def put(pipe: Pipeline) -> None:
            pipe.delete(self._keys.text(key))
            self._forget(pipe, key)
            if lines:
                self._add(pipe, key, lines)

        await self._write(key, put)

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        async with bounded(explain):
            lines: Any = await self._client.lrange(self._keys.text(key), 0, -1)
        return decode_all(lines)

    async def count(self, key: SessionKey) -> int:
        async with bounded(explain):
            return int(await self._client.llen(self._keys.text(key)))

    async def size(self, key: SessionKey) -> int:
        async with bounded(explain):
            sizes: Any = await self._client.hvals(self._bytes(key))
        return sum(int(size) for size in sizes)

    async def list_projects(self) -> list[str]:
        async with bounded(explain):
            names: Any = await self._client.smembers(self._projects)
        return sorted(name.decode() for name in names)

    async def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        async with bounded(explain):
            rows: Any = await self._client.zrange(self._index(project_key), 0, -1, withscores=True)
        return [{"session_id": name.decode(), "mtime": int(score)} for name, score in rows]

    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        async with bounded(explain):
            names: Any = await self._client.hkeys(self._bytes(key))
        return sorted(name.decode() for name in names if name)

    async def delete(self, key: SessionKey) -> None:
        async with bounded(explain):
            if subpath(key):
                async with self._client.pipeline(transaction=True) as pipe:
                    pipe.delete(self._keys.text(key))
                    self._forget(pipe, key)
                    await pipe.execute()
            else:
                await self._delete_session(key)

    async def close(self) -> None:
        await self._client.aclose()

    async def _write(self, key: SessionKey, write: Callable[[Pipeline], None]) -> None:
        """Write at once, and only as long as nobody has claimed the session since this object did. Never twice."""
        epoch, name = self._claims.of(key), self._epoch(key)
        async with bounded(explain), self._client.pipeline(transaction=True) as pipe:
            if epoch is not None:
                await pipe.watch(name)
                require(epoch, int(await pipe.get(name) or 0))
                pipe.multi()  # type: ignore[no-untyped-call]
            write(pipe)
            await pipe.execute()

    def _add(self, pipe: Pipeline, key: SessionKey, lines: list[bytes]) -> None:
        """Add lines at the end."""
        pipe.rpush(self._keys.text(key), *lines)
        pipe.hincrby(self._bytes(key), subpath(key), sum(map(len, lines)))
        self._note(pipe, key)

    async def _delete_session(self, key: SessionKey) -> None:
        index = self._index(key["project_key"])

        async def remove(pipe: Pipeline) -> None:
            paths: Any = await pipe.hkeys(self._bytes(key))
            others: Any = await pipe.zrange(index, 0, 1)
            pipe.multi()  # type: ignore[no-untyped-call]
            session = self._keys.session(key)
            pipe.delete(
                session, self._bytes(key), self._epoch(key), *(f"{session}/{path.decode()}" for path in paths if path)
            )
            pipe.zrem(index, key["session_id"])
            if others in ([], [key["session_id"].encode()]):
                pipe.srem(self._projects, key["project_key"])

        # Tried again when a subkey or a session came in between.
        await self._client.transaction(remove, self._bytes(key), index)

    def _note(self, pipe: Pipeline, key: SessionKey) -> None:
        """Put a session on the list of its project; subkeys are not on it."""
        if not subpath(key):
            pipe.zadd(self._index(key["project_key"]), {key["session_id"]: self._stamps.next()}, gt=True)
            pipe.sadd(self._projects, key["project_key"])

    def _forget(self, pipe: Pipeline, key: SessionKey) -> None:
        pipe.hdel(self._bytes(key), subpath(key))
        if not subpath(key):
            pipe.zrem(self._index(key["project_key"]), key["session_id"])

    def _bytes(self, key: SessionKey | SessionListSubkeysKey) -> str:
        return f"{self._keys.session(key)}/:bytes"

    def _epoch(self, key: SessionKey | SessionListSubkeysKey) -> str:
        return f"{self._keys.session(key)}/:epoch"

    def _index(self, project_key: str) -> str:
        return f"{self._keys.project(project_key)}/:sessions"


def _pool(url: str) -> BlockingConnectionPool:
    return BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        timeout=TIMEOUT_SECONDS,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=_CONNECT_SECONDS,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )


def explain(error: Exception) -> StoreError | None:
    """Return what an error of the client means."""
    match error:
        # Of the kinds of ConnectionError these two alone do not pass.
        case exceptions.AuthenticationError() | exceptions.AuthorizationError():
            return StoreRefused("the session store refused user or password: check the Secret's key `url`")
        case exceptions.NoPermissionError():
            return StoreRefused("the session store's user lacks a right: let it use its prefix, MULTI and WATCH")
        case exceptions.OutOfMemoryError():
            return StoreRefused("the session store's memory is full: give it more, or delete sessions")
        case exceptions.ReadOnlyError():
            return StoreUnreachable("the session store takes no writes now: it is a replica")
        case exceptions.WatchError():  # also what the client makes of a connection that was lost under a WATCH
            return StoreUnreachable("the session store's answer was lost, or somebody claims the session just now")
        case exceptions.ConnectionError() | exceptions.TimeoutError() | OSError():
            return StoreUnreachable("the session store cannot be reached")
        case exceptions.RedisError():
            return StoreError(f"the session store answered with an error ({type(error).__name__})")
    return None
