"""What a server holds under a prefix, asked without the store's own code."""

from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from stores.backends import Backend


async def leftovers(backend: Backend, request: pytest.FixtureRequest, prefix: str) -> list[str]:
    """Return names of all that is there."""
    if backend.kind == "Redis":
        return await _in_redis(backend.secret["url"].strip(), prefix)
    if backend.kind == "Postgres":
        return await _in_postgres(backend.secret["url"].strip(), prefix)
    folder = request.getfixturevalue("s3_server").objects
    return sorted(str(path.relative_to(folder)) for path in (folder / prefix).rglob("*") if path.is_file())


async def _in_redis(url: str, prefix: str) -> list[str]:
    async with Redis.from_url(url, decode_responses=True) as client:
        names: Any = await client.keys(f"{prefix}/*")
    return sorted(names)


async def _in_postgres(url: str, prefix: str) -> list[str]:
    connection: Any = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "SELECT session_id FROM agentsessions_transcripts LEFT JOIN agentsessions_entries ON id = transcript "
            "WHERE prefix = $1",
            prefix,
        )
    finally:
        await connection.close()
    return [str(row[0]) for row in rows]
