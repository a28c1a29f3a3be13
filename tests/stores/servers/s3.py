"""An S3 server with one bucket: versitygw, whose objects are files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster.build import binary
from stores.servers import processes

ACCESS_KEY = "access-key-of-the-tests"
SECRET_KEY = "secret-key-of-the-tests"
BUCKET = "sessions"


@dataclass(frozen=True)
class S3Server:
    """A running server; `objects` is the folder that is the bucket."""

    port: int
    objects: Path

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def serve(folder: Path) -> Iterator[S3Server]:
    """Run the server until the block ends."""
    objects, metadata, port = folder / "objects", folder / "metadata", processes.free_port()
    (objects / BUCKET).mkdir(parents=True)
    metadata.mkdir()
    command: list[str | Path] = [binary("versitygw"), "--port", f"127.0.0.1:{port}", "--quiet", "--keep-alive"]
    command += ["posix", "--sidecar", metadata, objects]
    environment = {"ROOT_ACCESS_KEY_ID": ACCESS_KEY, "ROOT_SECRET_ACCESS_KEY": SECRET_KEY}
    # Metadata in files of their own: not every file system keeps extended attributes.
    with processes.running(command, port, folder / "versitygw.log", environment):
        yield S3Server(port, objects / BUCKET)
