"""The tables in Postgres: who makes them, when they are refused, and how numbers run."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from agentrunner.stores.base import StoreRefused
from stores.backends import Backend, Opener
from stores.servers.postgres import PostgresServer
from stores.transcripts import KEY, entries

LIMITED = "limited-password"


class Database:
    """A database of one test, and a role in it that may make no tables."""

    def __init__(self, server: PostgresServer, name: str, folder: Path) -> None:
        self.server = server
        self.name = name
        self.owner = Opener(Backend("Postgres", {"url": server.url(database=name)}), folder / "owner", "ns")
        limited = server.url(LIMITED, f"limited-{name}", name)
        self.limited = Opener(Backend("Postgres", {"url": limited}), folder / "limited", "ns")

    async def execute(self, *statements: str) -> None:
        """Run statements as the owner."""
        await self.server.execute(*statements, database=self.name)


@pytest.fixture
async def database(postgres_server: PostgresServer, namespace: str, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database."""
    for name in ("owner", "limited"):
        (tmp_path / name).mkdir()
    await postgres_server.new_database(namespace)
    made = Database(postgres_server, namespace, tmp_path)
    await made.execute(f"CREATE ROLE \"limited-{namespace}\" LOGIN PASSWORD '{LIMITED}'")
    yield made
    await made.owner.close()
    await made.limited.close()


async def test_many_may_be_the_first(database: Database) -> None:
    await asyncio.gather(*(database.owner().append(KEY, entries(1, number)) for number in range(8)))
    assert await database.owner().count(KEY) == 8


async def test_a_role_that_may_make_no_tables_says_what_it_needs(database: Database) -> None:
    with pytest.raises(StoreRefused, match="grant it CREATE"):
        await database.limited().load(KEY)


async def test_a_role_that_may_make_no_tables_works_with_those_of_another(database: Database) -> None:
    await database.owner().load(KEY)
    with pytest.raises(StoreRefused, match="SELECT, INSERT, UPDATE and DELETE"):
        await database.limited().load(KEY)
    tables = "agentsessions_schema, agentsessions_transcripts, agentsessions_entries, agentsessions_claims"
    await database.execute(f'GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO "limited-{database.name}"')
    store = database.limited()
    await store.append(KEY, entries(3))
    await store.replace(KEY, entries(2))
    assert await store.load(KEY) == entries(2)
    await store.delete(KEY)
    assert await store.list_projects() == []


async def test_tables_of_an_earlier_version_get_what_they_lack(database: Database) -> None:
    await database.owner().append(KEY, entries(2))
    await database.execute(
        "DROP TABLE agentsessions_claims",
        "DELETE FROM agentsessions_schema",
        "INSERT INTO agentsessions_schema VALUES (1)",
    )
    store = database.owner()
    await store.claim({"project_key": KEY["project_key"], "session_id": KEY["session_id"]}, 3)
    await store.append(KEY, entries(1, 2))
    assert await store.load(KEY) == entries(3)


async def test_tables_of_a_later_version_are_left_alone(database: Database) -> None:
    await database.owner().load(KEY)
    await database.execute("INSERT INTO agentsessions_schema VALUES (7)")
    with pytest.raises(StoreRefused, match=r"version 7.*newer agent image"):
        await database.owner().load(KEY)


async def test_numbers_have_no_gap_whoever_writes(database: Database) -> None:
    stores = [database.owner() for _ in range(4)]
    await asyncio.gather(*(stores[number % 4].append(KEY, entries(3)) for number in range(40)))
    connection: Any = await asyncpg.connect(database.server.url(database=database.name))
    rows = await connection.fetch("SELECT seq FROM agentsessions_entries ORDER BY seq")
    await connection.close()
    assert [row[0] for row in rows] == list(range(1, 121))


async def test_a_transcript_that_cannot_be_replaced_stays(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    store = database.owner()
    await store.append(KEY, entries(3))
    monkeypatch.setattr("agentrunner.stores.postgres._APPEND", "SELECT 1 / 0, $1, $2, $3, $4, $5, $6, $7")
    with pytest.raises(Exception, match="SQLSTATE"):
        await store.replace(KEY, entries(5))
    assert await store.load(KEY) == entries(3)
