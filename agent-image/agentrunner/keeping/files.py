"""The transcript files of one session as the CLI lays them out, by the names that they have in a session store.

<config>/projects/<project key>/<session id>.jsonl                         the conversation, subpath None
<config>/projects/<project key>/<session id>/subagents/agent-<x>.jsonl     a subagent's, subpath subagents/agent-<x>
<config>/projects/<project key>/<session id>/subagents/agent-<x>.meta.json its metadata, an entry `agent_metadata`
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import cast

from claude_agent_sdk import SessionKey, SessionStoreEntry, project_key_for_directory

from agentrunner.lines import Entry, digest, dump

METADATA = "agent_metadata"
OURS = "agentsessions/"
"""Start of the subpaths that are the host's own, and no transcript's."""


@dataclass(frozen=True, slots=True)
class TranscriptFiles:
    """Where a session's transcripts are, and under which keys a store has them."""

    config: Path
    cwd: Path
    session_id: str

    @property
    def project_key(self) -> str:
        """The CLI's name for the working directory."""
        return project_key_for_directory(str(self.cwd))

    @property
    def main(self) -> Path:
        """The conversation's file."""
        return self._folder.with_name(f"{self.session_id}.jsonl")

    def key(self, subpath: str | None = None) -> SessionKey:
        """Return the key of a transcript."""
        key: SessionKey = {"project_key": self.project_key, "session_id": self.session_id}
        if subpath is not None:
            key["subpath"] = subpath
        return key

    def path(self, subpath: str | None) -> Path:
        """Return the file of a transcript; raises ValueError for a subpath that leads out of the session's folder."""
        if subpath is None:
            return self.main
        parts = PurePosixPath(subpath).parts
        if not parts or subpath.startswith("/") or ".." in parts or "\0" in subpath:
            raise ValueError("the session store has a transcript whose name leads out of the session's folder")
        return self._folder.joinpath(*parts[:-1], f"{parts[-1]}.jsonl")

    def subpaths(self) -> list[str]:
        """Return the subagents' transcripts that are there."""
        found = sorted(self._folder.rglob("*.jsonl")) if self._folder.is_dir() else []
        names = [path.relative_to(self._folder).with_suffix("").as_posix() for path in found]
        return [name for name in names if not name.startswith(OURS)]

    def metadata(self, subpath: str) -> Entry | None:
        """Return a subagent's metadata as an entry of its transcript."""
        try:
            body = json.loads(_sidecar(self.path(subpath)).read_bytes())
        except (OSError, ValueError):
            return None
        return {"type": METADATA} | body if isinstance(body, dict) else None

    def write(self, subpath: str | None, entries: Iterable[Entry]) -> None:
        """Replace a transcript, and a subagent's metadata if there is some among the entries: the last one counts."""
        path, lines = self.path(subpath), list(entries)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        meta = [entry for entry in lines if subpath is not None and entry.get("type") == METADATA]
        _replace(path, dump(entry for entry in lines if not (subpath is not None and entry.get("type") == METADATA)))
        if meta:
            body = {name: value for name, value in meta[-1].items() if name != "type"}
            _replace(_sidecar(path), json.dumps(body).encode())

    @property
    def _folder(self) -> Path:
        return self.config / "projects" / self.project_key / self.session_id


def as_stored(entries: Iterable[Entry]) -> list[SessionStoreEntry]:
    """Return entries in the SDK's type for them, which names only a few of their fields."""
    return cast(list[SessionStoreEntry], list(entries))


def as_entries(stored: Iterable[SessionStoreEntry] | None) -> list[Entry]:
    """Return what a store has as entries; none if it has nothing."""
    return cast(list[Entry], list(stored or []))


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".jsonl") + ".meta.json")


def _replace(path: Path, content: bytes) -> None:
    """Replace a file, readable by its owner only; a crash leaves the old one or the new one."""
    scratch = path.with_name(f".{path.name}.new")
    with scratch.open("wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def digests(subpath: str | None, entries: Iterable[Entry]) -> list[str]:
    """Return the digests of a transcript's lines; a subagent's metadata stands between them in a store."""
    return [digest(entry) for entry in entries if subpath is None or entry.get("type") != METADATA]


def uuids(entries: Iterable[Entry]) -> Iterator[str]:
    """Yield the uuids of those entries that have one."""
    for entry in entries:
        if isinstance(uuid := entry.get("uuid"), str):
            yield uuid
