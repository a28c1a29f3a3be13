"""A Redis with a password, and a user that may use one prefix only."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stores.servers import debian, processes

PASSWORD = "redis-password-of-the-tests"
READER = "reader-password-of-the-tests"


@dataclass(frozen=True)
class RedisServer:
    """A running server."""

    port: int

    def url(self, password: str = PASSWORD, user: str = "", scheme: str = "redis") -> str:
        """Return what stands in a Secret's key `url`."""
        return f"{scheme}://{user}:{password}@127.0.0.1:{self.port}/0"


@contextmanager
def serve(folder: Path) -> Iterator[RedisServer]:
    """Run the server until the block ends."""
    program = debian.ensure("redis-server", "redis-server")
    port = processes.free_port()
    settings = folder / "redis.conf"
    settings.write_text(
        f"bind 127.0.0.1\nport {port}\ndir {folder}\nsave ''\nappendonly no\nrequirepass {PASSWORD}\n"
        f"user reader on >{READER} ~* +@read +@connection\n"
    )
    with processes.running([program, settings], port, folder / "redis.log"):
        yield RedisServer(port)
