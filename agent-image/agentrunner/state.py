"""What the runner keeps on the session's volume, beside the CLI's own transcript.

    <state>/agentsessions/session.json   whose volume this is
    <state>/agentsessions/usage.json     what each attempt used, and the sum
    <state>/agentsessions/result.json    the whole report of a finished turn

Every file is replaced atomically. It must never hold the prompt.
"""

import json
import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agentrunner.errors import InvalidInput
from agentrunner.usage import total
from agentsessions.api.status import Usage
from agentsessions.api.termination import ReportReason, TerminationReport

FOLDER = "agentsessions"


class State:
    """The runner's files of one session; `max_turns` is its bound of now."""

    def __init__(self, directory: Path, session_id: str, max_turns: int | None = None) -> None:
        self._folder = directory / FOLDER
        self._session_id = session_id
        self._max_turns = max_turns

    def open(self) -> None:
        """Make the folder and claim it for this session; raise InvalidInput if another session owns it."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            owner = self._load("session.json")
            if owner is None:
                self._save("session.json", {"version": 1, "sessionId": self._session_id})
        except OSError as error:
            raise InvalidInput(
                f"the state directory '{self._folder.parent}' cannot be written ({error.strerror}): "
                "mount a writable volume there"
            ) from None
        found = self._session_id if owner is None else owner.get("sessionId")
        if found != self._session_id:
            raise InvalidInput(
                f"the state directory belongs to session '{found}', not to '{self._session_id}': "
                "give each session a volume of its own"
            )

    def finished(self) -> TerminationReport | None:
        """Return the report of this session's finished turn, if one was kept and still holds."""
        stored = self._load("result.json")
        if stored is None or stored.get("sessionId") != self._session_id:
            return None
        try:
            report = TerminationReport.model_validate(stored["report"])
        except (KeyError, ValidationError):
            return None
        # Earlier runners did not say how many there were, but how many they used.
        before = stored.get("maxTurns") or (report.usage.turns if report.usage else None)
        return None if self._has_more_turns(report, before) else report

    def _has_more_turns(self, report: TerminationReport, before: object) -> bool:
        """Return whether a turn that ended for want of model turns has more of them by now."""
        if report.reason != ReportReason.MAX_TURNS_EXCEEDED or not isinstance(before, int):
            return False
        return self._max_turns is not None and self._max_turns > before

    def keep_finished(self, attempt: int, report: TerminationReport) -> None:
        """Keep the whole report of a finished turn; when this returns it is on disk."""
        document = {"version": 1, "sessionId": self._session_id, "attempt": attempt, "report": report.to_json()}
        self._save("result.json", document | {"maxTurns": self._max_turns}, sync=True)

    def keep_usage(self, attempt: int, usage: Usage) -> Usage:
        """Keep what this attempt has used so far, and return the sum over all attempts on this volume."""
        attempts = (self._load("usage.json") or {}).get("attempts", {})
        attempts[str(attempt)] = usage.to_json()
        summed = total(Usage.model_validate(part) for part in attempts.values())
        document = {"version": 1, "sessionId": self._session_id, "attempts": attempts, "total": summed.to_json()}
        self._save("usage.json", document)
        return summed

    def _load(self, name: str) -> dict[str, Any] | None:
        """Return a file's object; None when it is missing or was never written whole."""
        try:
            document = json.loads((self._folder / name).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return document if isinstance(document, dict) else None

    def _save(self, name: str, document: dict[str, Any], *, sync: bool = False) -> None:
        scratch = self._folder / f".{name}.new"
        with scratch.open("wb") as file:
            file.write(json.dumps(document, ensure_ascii=False).encode("utf-8", "replace"))
            if sync:
                file.flush()
                os.fsync(file.fileno())
        scratch.replace(self._folder / name)
        if sync:
            _sync_directory(self._folder)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
