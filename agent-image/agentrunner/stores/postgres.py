"""Sessions in Postgres. Every name is compared whole, in columns of its own."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from claude_agent_sdk import SessionKey, SessionListSubkeysKey, SessionStoreEntry, SessionStoreListEntry

from agentrunner.stores import postgres_schema
from agentrunner.stores.base import Store, StoreError, StoreRefused, StoreUnreachable
from agentrunner.stores.bounded import bounded, patience
from agentrunner.stores.claims import Claims, require
from agentrunner.stores.codec import decode_all, encode
from agentrunner.stores.keys import Keys, subpath
from agentrunner.waiting import within

_CONNECT_SECONDS = 5.0
_CONNECTIONS = 8
_CLOSE_SECONDS = 5.0

_OF_SESSION = "prefix = $1 AND project_key = $2 AND session_id = $3"
_OF_KEY = f"{_OF_SESSION} AND subpath = $4"
_NOW = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
# Locks the transcript's row until the end of the transaction: writers follow each other, and numbers have no gap.
_GROW = f"""
INSERT INTO agentsessions_transcripts AS t (prefix, project_key, session_id, subpath, mtime, entries, bytes)
VALUES ($1, $2, $3, $4, {_NOW}, $5, $6)
ON CONFLICT (prefix, project_key, session_id, subpath) DO UPDATE SET
    entries = t.entries + excluded.entries,
    bytes = t.bytes + excluded.bytes,
    mtime = greatest(t.mtime + 1, excluded.mtime)
RETURNING id, entries
"""
_APPEND = f"""
WITH t AS ({_GROW})
INSERT INTO agentsessions_entries (transcript, seq, entry)
SELECT t.id, t.entries - $5 + line.number, line.entry FROM t, unnest($7::text[]) WITH ORDINALITY AS line (entry, number)
"""
_EMPTY = f"""
WITH t AS (
    UPDATE agentsessions_transcripts SET entries = 0, bytes = 0, mtime = greatest(mtime + 1, {_NOW})
    WHERE {_OF_KEY} RETURNING id
)
DELETE FROM agentsessions_entries USING t WHERE transcript = t.id
"""
_LOAD = f"""
SELECT entry FROM agentsessions_entries JOIN agentsessions_transcripts ON id = transcript WHERE {_OF_KEY} ORDER BY seq
"""
_COUNT = f"SELECT entries FROM agentsessions_transcripts WHERE {_OF_KEY}"
_SIZE = f"SELECT sum(bytes)::bigint FROM agentsessions_transcripts WHERE {_OF_SESSION}"
_PROJECTS = "SELECT DISTINCT project_key FROM agentsessions_transcripts WHERE prefix = $1 ORDER BY 1"
_SESSIONS = """
SELECT session_id, mtime FROM agentsessions_transcripts WHERE prefix = $1 AND project_key = $2 AND subpath = ''
"""
_SUBKEYS = f"SELECT subpath FROM agentsessions_transcripts WHERE {_OF_SESSION} AND subpath <> '' ORDER BY 1"
_DELETE = f"DELETE FROM agentsessions_transcripts WHERE {_OF_KEY}"
_DELETE_SESSION = f"DELETE FROM agentsessions_transcripts WHERE {_OF_SESSION}"


# The row is locked until the end of the writer's transaction: a claim waits for it, and it for a claim.
_HELD = f"SELECT epoch FROM agentsessions_claims WHERE {_OF_SESSION} FOR SHARE"
_CLAIM = """
INSERT INTO agentsessions_claims AS c (prefix, project_key, session_id, epoch) VALUES ($1, $2, $3, $4)
ON CONFLICT (prefix, project_key, session_id) DO UPDATE SET epoch = greatest(c.epoch, excluded.epoch)
RETURNING epoch
"""
_UNCLAIM = f"DELETE FROM agentsessions_claims WHERE {_OF_SESSION}"


class PostgresStore(Store):
    """A session store in Postgres."""

    def __init__(self, url: str, prefix: str) -> None:
        self._url = url
        self._keys = Keys(prefix)
        self._claims = Claims()
        self._opening = asyncio.Lock()
        self._pool: Any = None

    async def claim(self, key: SessionListSubkeysKey, epoch: int) -> None:
        async with self._connection() as connection:
            held = await connection.fetchval(_CLAIM, *self._session(key), epoch)
        require(epoch, held)
        self._claims.made(key, epoch)

    def release(self, key: SessionListSubkeysKey) -> None:
        self._claims.dropped(key)

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        lines = [encode(entry) for entry in entries]
        if not lines:
            return
        async with self._writing(key, sum(map(len, lines))) as connection:
            await connection.execute(_APPEND, *self._grown(key, lines))

    async def replace(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        lines = [encode(entry) for entry in entries]
        async with self._writing(key, sum(map(len, lines))) as connection:
            await connection.execute(_EMPTY if lines else _DELETE, *self._names(key))
            if lines:
                await connection.execute(_APPEND, *self._grown(key, lines))

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        async with self._connection() as connection:
            rows = await connection.fetch(_LOAD, *self._names(key))
        return decode_all(row[0] for row in rows)

    async def count(self, key: SessionKey) -> int:
        async with self._connection() as connection:
            return int(await connection.fetchval(_COUNT, *self._names(key)) or 0)

    async def size(self, key: SessionKey) -> int:
        async with self._connection() as connection:
            return int(await connection.fetchval(_SIZE, *self._session(key)) or 0)

    async def list_projects(self) -> list[str]:
        async with self._connection() as connection:
            return [row[0] for row in await connection.fetch(_PROJECTS, self._keys.prefix)]

    async def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        self._keys.project(project_key)
        async with self._connection() as connection:
            rows = await connection.fetch(_SESSIONS, self._keys.prefix, project_key)
        return [{"session_id": row[0], "mtime": row[1]} for row in rows]

    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        async with self._connection() as connection:
            return [row[0] for row in await connection.fetch(_SUBKEYS, *self._session(key))]

    async def delete(self, key: SessionKey) -> None:
        if subpath(key):
            return await self._remove(key)
        async with self._connection() as connection, connection.transaction():
            await connection.execute(_UNCLAIM, *self._session(key))  # first, as writers lock it first
            await connection.execute(_DELETE_SESSION, *self._session(key))

    async def close(self) -> None:
        if self._pool is None:
            return
        if not await within(_CLOSE_SECONDS, self._pool.close()):
            self._pool.terminate()

    async def _remove(self, key: SessionKey) -> None:
        async with self._connection() as connection:
            await connection.execute(_DELETE, *self._names(key))

    def _names(self, key: SessionKey) -> tuple[str, str, str, str]:
        self._keys.text(key)
        return self._keys.prefix, key["project_key"], key["session_id"], subpath(key)

    def _session(self, key: SessionKey | SessionListSubkeysKey) -> tuple[str, str, str]:
        self._keys.session(key)
        return self._keys.prefix, key["project_key"], key["session_id"]

    def _grown(self, key: SessionKey, lines: list[bytes]) -> tuple[Any, ...]:
        return *self._names(key), len(lines), sum(map(len, lines)), [line.decode() for line in lines]

    @asynccontextmanager
    async def _writing(self, key: SessionKey, moved: int) -> AsyncIterator[Any]:
        """Lend a connection in a transaction, as long as nobody has claimed the session since this object did."""
        epoch = self._claims.of(key)
        async with self._connection(moved) as connection, connection.transaction():
            if epoch is not None:
                require(epoch, int(await connection.fetchval(_HELD, *self._session(key)) or 0))
            yield connection

    @asynccontextmanager
    async def _connection(self, moved: int = 0) -> AsyncIterator[Any]:
        """Lend a connection; `moved` is the bytes that go over it."""
        async with bounded(explain, patience(moved)):
            pool = await self._opened()
            async with pool.acquire() as connection:
                yield connection

    async def _opened(self) -> Any:
        async with self._opening:
            if self._pool is None:
                pool = await _new_pool(self._url)
                try:
                    async with pool.acquire() as connection:
                        await postgres_schema.ensure(connection)
                except BaseException:
                    pool.terminate()
                    raise
                self._pool = pool
        return self._pool


async def _new_pool(url: str) -> Any:
    return await asyncpg.create_pool(url, min_size=0, max_size=_CONNECTIONS, timeout=_CONNECT_SECONDS)


_PASSING = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.OperatorInterventionError,
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that broke in the middle of something
)


def explain(error: Exception) -> StoreError | None:
    """Return what an error of the client means."""
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        return StoreRefused("Postgres refused user or password: check the Secret's key `url`")
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return StoreRefused("the database does not exist: check the Secret's key `url`, or create it")
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return StoreRefused(
            "the role lacks a right: grant it CREATE on its schema, or SELECT, INSERT, UPDATE and DELETE on the tables "
            "agentsessions_* that another role made"
        )
    if isinstance(error, ssl.SSLCertVerificationError | asyncpg.ClientConfigurationError):
        return StoreRefused("the connection cannot be made as the Secret's key `url` says: check its options")
    if isinstance(error, _PASSING):
        return StoreUnreachable("Postgres cannot be reached, or takes no writes now")
    if isinstance(error, asyncpg.PostgresError):
        return StoreError(f"Postgres answered with an error (SQLSTATE {error.sqlstate})")
    return None
