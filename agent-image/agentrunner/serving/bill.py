"""What a session has used: earlier processes from disk, the present one by the difference of its meter."""

from contextlib import suppress
from pathlib import Path

from claude_agent_sdk import ResultMessage
from pydantic import ValidationError

from agentrunner.serving.files import load, save
from agentrunner.usage import ZERO, Meter, read_meter, total, used_since
from agentsessions.api.status import Usage

FILE = "usage.json"


class Bill:
    """One session's usage. `known` is what the control plane last heard, for a host that has nothing on disk."""

    def __init__(self, path: Path, known: Usage | None) -> None:
        self._path = path
        self._before = _stored(path) or known or Usage()
        self._start = ZERO
        self._turns = 0
        self.usage = self._before

    def process_started(self, meter: Meter) -> None:
        """Count from this reading on: on a resume the CLI's own counters go on from where they were."""
        self._before, self._start, self._turns = self.usage, meter, 0

    def turn_ended(self, result: ResultMessage) -> None:
        """Take the reading at the end of a turn."""
        self._turns += result.num_turns
        now = read_meter(result.total_cost_usd, result.model_usage)
        self.usage = total([self._before, used_since(self._start, now, self._turns)])
        with suppress(OSError):  # without room for it the next turn brings it; the turn has ended all the same
            save(self._path, {"version": 1, "usage": self.usage.to_json()})


def has_spoken(folder: Path) -> bool:
    """Return whether a session has ended a turn, by the bill that an earlier process left in its folder."""
    found = _stored(folder / FILE)
    return found is not None and found.turns > 0


def _stored(path: Path) -> Usage | None:
    try:
        return Usage.model_validate((load(path) or {})["usage"])
    except (KeyError, ValidationError):
        return None
