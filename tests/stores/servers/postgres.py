"""A Postgres in a folder of its own, run by the user `postgres` where the tests are root: it refuses that."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from cluster.commands import run
from stores.servers import debian, processes

USER = "sessions"
PASSWORD = "postgres-password-of-the-tests"


@dataclass(frozen=True)
class PostgresServer:
    """A running server."""

    port: int

    def url(self, password: str = PASSWORD, user: str = USER, database: str = "postgres") -> str:
        """Return what stands in a Secret's key `url`."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    async def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements as the owner of everything."""
        connection: Any = await asyncpg.connect(self.url(database=database))
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    async def new_database(self, name: str) -> str:
        """Make a database; return the URL of the owner in it."""
        await self.execute(f'CREATE DATABASE "{name}"')
        return self.url(database=name)


@contextmanager
def serve(folder: Path) -> Iterator[PostgresServer]:
    """Run the server until the block ends."""
    program = debian.ensure("postgres", "postgresql").resolve()
    data, password, port = folder / "data", folder / "password", processes.free_port()
    password.write_text(PASSWORD)
    _give_to_postgres(folder)
    _initialise(program.parent / "initdb", data, password)
    options = ["-c", f"port={port}", "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
    command: list[str | Path] = [*_as_postgres(), program, "-D", data, "-c", "fsync=off", *options]
    # Its immediate shutdown also ends its own processes.
    with processes.running(command, port, folder / "log", end=signal.SIGQUIT):
        yield PostgresServer(port)


def _initialise(program: Path, data: Path, password: Path) -> None:
    options = ["--encoding=UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256", "--no-sync"]
    run([*_as_postgres(), program, f"--pgdata={data}", f"--username={USER}", f"--pwfile={password}", *options])


def _as_postgres() -> list[str]:
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.geteuid() == 0 else []


def _give_to_postgres(folder: Path) -> None:
    if os.geteuid() == 0:
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, "postgres", "postgres")
