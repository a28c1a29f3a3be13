"""How long an agent may work on once its pod was told to stop. Pure, but for one file's time."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agentrunner.inputs import SESSION_FILE

RESERVE_SECONDS = 20.0
"""Kept back from the grace: for turns that have to be interrupted, and for what is written after them."""


@dataclass(frozen=True, slots=True)
class Grace:
    """What the pod says of its end: seconds of grace, seconds that it may live, and when that life began."""

    seconds: float = 0.0
    deadline: float | None = None
    began: float = 0.0

    def left(self, now: float) -> float:
        """Return for how long a turn may go on after a signal that comes `now`.

        Not beyond the deadline: a signal that comes then is the deadline, for which nobody wants more work.
        """
        patience = self.seconds - RESERVE_SECONDS
        if self.deadline is not None:
            patience = min(patience, self.began + self.deadline - now)
        return max(0.0, patience)


def read_grace(own: Mapping[str, str], session: Path) -> Grace:
    """Return the grace; a pod that names none, made by an operator that knew of none, is stopped at once.

    The kubelet counts a pod's life from before its image is pulled. It writes the pod's files then, too, and nothing
    else in the container tells of that moment.
    """
    deadline = own.get("AGENTSESSIONS_DEADLINE_SECONDS")
    return Grace(
        seconds=float(own.get("AGENTSESSIONS_GRACE_SECONDS", 0)),
        deadline=float(deadline) if deadline else None,
        began=session.joinpath(SESSION_FILE).stat().st_mtime,
    )
