"""One server of each kind for the whole run; names of its own for each test."""

import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from stores.backends import Backend, Opener
from stores.servers import postgres, redis, s3

KINDS = ("Redis", "Postgres", "S3", "Custom")


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder that also another user's server may enter."""
    with tempfile.TemporaryDirectory(prefix="stores-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="session")
def redis_server(folder: Path) -> Iterator[redis.RedisServer]:
    """A Redis."""
    (folder / "redis").mkdir()
    with redis.serve(folder / "redis") as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server(folder: Path) -> Iterator[postgres.PostgresServer]:
    """A Postgres."""
    (folder / "postgres").mkdir()
    with postgres.serve(folder / "postgres") as server:
        yield server


@pytest.fixture(scope="session")
def s3_server(folder: Path) -> Iterator[s3.S3Server]:
    """An S3 server."""
    (folder / "s3").mkdir()
    with s3.serve(folder / "s3") as server:
        yield server


@pytest.fixture
def redis_backend(redis_server: redis.RedisServer) -> Backend:
    """Sessions in Redis."""
    return Backend("Redis", {"url": f"{redis_server.url()}\n"}, {"url": redis_server.url("wrong-password")})


@pytest.fixture
def postgres_backend(postgres_server: postgres.PostgresServer) -> Backend:
    """Sessions in Postgres."""
    return Backend("Postgres", {"url": f"{postgres_server.url()}\n"}, {"url": postgres_server.url("wrong-password")})


@pytest.fixture
def s3_backend(s3_server: s3.S3Server) -> Backend:
    """Sessions in a bucket."""
    secret = {"accessKeyId": s3.ACCESS_KEY, "secretAccessKey": s3.SECRET_KEY}
    wrong = {**secret, "secretAccessKey": "wrong-secret-key"}
    return Backend("S3", secret, wrong, {"s3": {"bucket": s3.BUCKET, "endpoint": s3_server.endpoint}})


@pytest.fixture
def custom_backend() -> Backend:
    """Sessions in a store of the tests' own, which has nothing but the SDK's protocol."""
    return Backend("Custom", {}, None, {"custom": {"entryPoint": "stores.custom:shared_memory"}})


@pytest.fixture(params=KINDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each kind of store in turn."""
    found: Backend = request.getfixturevalue(f"{request.param.lower()}_backend")
    return found


@pytest.fixture(params=KINDS[:-1])
def served(request: pytest.FixtureRequest) -> Backend:
    """Each kind of store that is a server, in turn."""
    found: Backend = request.getfixturevalue(f"{request.param.lower()}_backend")
    return found


@pytest.fixture
def namespace() -> str:
    """The second part of a prefix, of this test's own."""
    return f"ns-{secrets.token_hex(4)}"


@pytest.fixture
async def opened(backend: Backend, tmp_path: Path, namespace: str) -> AsyncIterator[Opener]:
    """Opens stores of each kind."""
    opener = Opener(backend, tmp_path, namespace)
    yield opener
    await opener.close()


@pytest.fixture
async def opener(served: Backend, tmp_path: Path, namespace: str) -> AsyncIterator[Opener]:
    """Opens stores of each kind that is a server."""
    found = Opener(served, tmp_path, namespace)
    yield found
    await found.close()
