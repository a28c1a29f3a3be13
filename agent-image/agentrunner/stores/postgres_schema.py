"""Tables in Postgres, made on first use. `agentsessions_schema` holds the version of the others.

Version 2 has claims; what an earlier version lacks is added.

Entries are kept as text, since json types reorder keys and change numbers.
"""

from typing import Any

from agentrunner.stores.base import StoreRefused

VERSION = 2

_LOCK = 0x6167656E7473  # any number that no one else is likely to lock
_FIND = "SELECT to_regclass('agentsessions_schema') IS NOT NULL"
_READ = "SELECT coalesce(max(version), 0) FROM agentsessions_schema"
_MAKE = f"""
CREATE TABLE IF NOT EXISTS agentsessions_schema (version integer PRIMARY KEY);
CREATE TABLE IF NOT EXISTS agentsessions_transcripts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    prefix text NOT NULL,
    project_key text NOT NULL,
    session_id text NOT NULL,
    subpath text NOT NULL,
    mtime bigint NOT NULL,
    entries bigint NOT NULL,
    bytes bigint NOT NULL,
    UNIQUE (prefix, project_key, session_id, subpath)
);
CREATE TABLE IF NOT EXISTS agentsessions_entries (
    transcript bigint NOT NULL REFERENCES agentsessions_transcripts ON DELETE CASCADE,
    seq bigint NOT NULL,
    entry text NOT NULL,
    PRIMARY KEY (transcript, seq)
);
CREATE TABLE IF NOT EXISTS agentsessions_claims (
    prefix text NOT NULL,
    project_key text NOT NULL,
    session_id text NOT NULL,
    epoch bigint NOT NULL,
    PRIMARY KEY (prefix, project_key, session_id)
);
INSERT INTO agentsessions_schema VALUES ({VERSION}) ON CONFLICT DO NOTHING;
"""


async def ensure(connection: Any) -> None:
    """Make the tables that are not there; StoreRefused when they are those of a later version."""
    if not await connection.fetchval(_FIND) or await connection.fetchval(_READ) < VERSION:
        async with connection.transaction():
            await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
            await connection.execute(_MAKE)
    version = await connection.fetchval(_READ)
    if version != VERSION:
        raise StoreRefused(f"the tables in Postgres are of version {version}, not {VERSION}: use a newer agent image")
