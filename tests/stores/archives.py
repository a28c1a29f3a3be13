"""What tests of the archive share: a place with a workspace, a bucket that fails when told to, odd files."""

import asyncio
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from agentrunner.archive.memory import memory_tree
from agentrunner.archive.shelf import Objects, open_bucket
from agentrunner.archive.trees import Tree
from agentrunner.archive.vault import Restored, Saved, Vault
from agentrunner.stores.base import StoreError, StoreRefused
from agentsessions.api.host import ArchiveSettings
from agentsessions.api.storage import S3Bucket
from stores.servers import s3

SESSION = "3f0e4f4e-5f0c-4f4e-9d4e-0c9f4b1d2a11"
MIB = 1024 * 1024
SECOND = 10**9
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Place:
    """A session's directories in one pod, and the vault of its host."""

    folder: Path
    vault: Vault

    @property
    def workspace(self) -> Path:
        """The working directory."""
        return self.folder / "workspace"

    @property
    def config(self) -> Path:
        """The CLI's directory."""
        return self.folder / "claude"

    @property
    def marks(self) -> Path:
        """The host's note of the archive."""
        return self.folder / "archive.json"

    @property
    def trees(self) -> dict[str, Path | Tree]:
        """What is packed."""
        return {"workspace": self.workspace, "memory": memory_tree(self.config)}

    async def save(self, session: str = SESSION) -> Saved:
        """Pack."""
        return await self.vault.save(session, self.trees, self.marks)

    async def restore(self, session: str = SESSION) -> Restored | None:
        """Unpack."""
        return await self.vault.restore(session, self.trees, self.marks)


class Pods:
    """Makes pods, each with an empty workspace, whose archives are in a bucket of one test's own."""

    def __init__(self, server: s3.S3Server, folder: Path, namespace: str) -> None:
        self._folder = folder
        secrets = folder / "secret"
        secrets.mkdir()
        (secrets / "accessKeyId").write_text(s3.ACCESS_KEY)
        (secrets / "secretAccessKey").write_text(s3.SECRET_KEY)
        self.secret_key = secrets / "secretAccessKey"
        self.settings = ArchiveSettings(
            s3=S3Bucket(bucket=s3.BUCKET, endpoint=server.endpoint),
            prefix=f"team/{namespace}",
            secrets=str(secrets),
            max_bytes=512 * MIB,
        )
        self.stored = server.objects / self.settings.prefix / SESSION

    def __call__(self, name: str, *, objects: Objects | None = None, **changes: object) -> Place:
        """Return a new pod, or one with other settings on the same disk."""
        settings = self.settings.model_copy(update=changes)
        made = Place(self._folder / name, Vault(settings, objects))
        made.workspace.mkdir(parents=True, exist_ok=True)
        made.config.mkdir(exist_ok=True)
        return made

    def parts(self) -> list[Path]:
        """Return the files in which the server keeps parts of archives."""
        return sorted(path for path in self.stored.glob("*/*") if path.is_file())

    def archives(self) -> list[str]:
        """Return the generations of which there are parts."""
        return sorted({path.parent.name[:8].lstrip("0") for path in self.parts()})


class Flaky:
    """A bucket that takes `calls` calls and fails the next ones, which it may have carried out all the same.

    `failures` is how many fail before it is well again; None: all.
    """

    def __init__(
        self,
        settings: ArchiveSettings,
        calls: int,
        *,
        carried_out: bool = False,
        failures: int | None = None,
        error: StoreError | None = None,
    ) -> None:
        self._objects: Objects = open_bucket(settings)
        self._carried_out = carried_out
        self._failures = failures
        self._error = error or StoreRefused("broken off by the test")
        self._calls = calls
        self.count = 0

    @property
    def failed(self) -> bool:
        """Whether a call failed so far."""
        return self.count > self._calls

    async def put(self, path: str, body: bytes) -> None:
        """Write an object."""
        await self._do(lambda: self._objects.put(path, body))

    async def get(self, path: str, size: int) -> bytes:
        """Read an object."""
        return await self._do(lambda: self._objects.get(path, size))

    async def objects(self, folder: str) -> list[tuple[str, int]]:
        """List objects."""
        return await self._do(lambda: self._objects.objects(folder))

    async def delete(self, paths: list[str]) -> None:
        """Remove objects."""
        await self._do(lambda: self._objects.delete(paths))

    async def _do(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        self.count += 1
        over = self.count - self._calls
        if over <= 0 or (self._failures is not None and over > self._failures):
            return await call()
        if self._carried_out:
            with suppress(StoreError):
                await call()
        raise self._error


def fill(root: Path) -> None:
    """Put files of every odd kind into a directory."""
    root.mkdir(parents=True, exist_ok=True)
    _files(root)
    _names(root)
    _links(root)
    _folders(root)
    _times(root)


def look(root: Path, *, times: bool = True) -> dict[bytes, tuple[object, ...]]:
    """Return all that is in a directory, by name: kind, mode, content or target, names of the same file, time."""
    found: dict[bytes, tuple[object, ...]] = {}
    inodes: dict[int, bytes] = {}
    base = os.fsencode(root)
    for folder, folders, files in os.walk(base):
        folders.sort()
        for name in sorted(folders + files):
            path = os.path.join(folder, name)
            seen = os.lstat(path)
            relative = os.path.relpath(path, base)
            same = inodes.setdefault(seen.st_ino, relative)
            when = seen.st_mtime_ns if times else 0
            found[relative] = (stat.S_IFMT(seen.st_mode), stat.S_IMODE(seen.st_mode), _content(path, seen), same, when)
    return found


def _content(path: bytes, seen: os.stat_result) -> object:
    if stat.S_ISLNK(seen.st_mode):
        return os.readlink(path)
    if not stat.S_ISREG(seen.st_mode):
        return None
    with open(path, "rb") as file:
        return file.read()


def _files(root: Path) -> None:
    (root / "empty").touch()
    (root / "block").write_bytes(b"x" * 512)
    (root / "large").write_bytes(os.urandom(3 * MIB + 17))
    (root / "program").write_text("#!/bin/sh\n")
    (root / "program").chmod(0o755)
    (root / "read-only").write_text("do not touch\n")
    (root / "read-only").chmod(0o444)
    with (root / "sparse").open("wb") as file:
        file.truncate(64 * MIB)
        file.seek(32 * MIB)
        file.write(b"an island")


def _names(root: Path) -> None:
    odd = [
        b"with space",
        b"line\nbreak",
        "gr\u00fc\u00df-\u4f60\u597d-\U0001f600".encode(),
        b"bytes-\xff\xfe-\x80",
        b" leading and trailing ",
        b"-rf",
        b"back\\slash",
        b"quote'\"",
        b"=key=value",
        b"n" * 255,
    ]
    for name in odd:
        with open(os.path.join(os.fsencode(root), name), "wb") as file:
            file.write(name)
    deep = root.joinpath(*["d" * 100] * 8)
    deep.mkdir(parents=True)
    (deep / "bottom").write_text("far down")


def _links(root: Path) -> None:
    (root / "folder").mkdir()
    (root / "folder/first").write_text("many names")
    (root / "folder/second").hardlink_to(root / "folder/first")
    (root / "another").hardlink_to(root / "folder/first")
    (root / "inside").symlink_to("folder/first")
    (root / "to-folder").symlink_to("folder")
    (root / "upwards").symlink_to("../elsewhere")
    (root / "absolute").symlink_to("/usr/bin/env")
    (root / "dangling").symlink_to("nowhere/at all")
    os.symlink(b"raw-\xff", os.fsencode(root / "to-bytes"))


def _folders(root: Path) -> None:
    (root / "hollow/inner").mkdir(parents=True)
    (root / "locked").mkdir()
    (root / "locked/within").write_text("write-protected")
    (root / "locked").chmod(0o555)


def _times(root: Path) -> None:
    for number, name in enumerate(("empty", "block", "hollow", "locked", "folder/first")):
        when = 1_600_000_000 * SECOND + number * 1_000_000_007
        os.utime(root / name, ns=(when, when))
    os.utime(root / "program", ns=(-SECOND // 2, -SECOND // 2))
    os.utime(root / "dangling", ns=(123_456_789, 123_456_789), follow_symlinks=False)


def add_special(root: Path) -> None:
    """Add what cannot be packed: a pipe and a socket."""
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket"))


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - a directory tells nobody
            await asyncio.sleep(0.01)
