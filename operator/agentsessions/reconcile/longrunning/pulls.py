"""For how long sessions' own pods have been unable to pull their image.

A view in memory, by one clock: pods do not say, and what they waited for before they pulled is not the image's fault.
An operator that is started anew begins to count anew.
"""

from dataclasses import dataclass, field, replace
from datetime import timedelta

from agentsessions.reconcile.longrunning.model import Around


@dataclass
class Pulls:
    """When each session's pod was first seen so: uid of the pod, and monotonic seconds."""

    _since: dict[str, tuple[str, float]] = field(default_factory=dict)

    def seen(self, around: Around, clock: float) -> Around:
        """Return what is known, with for how long the session's pod has been seen unable to pull."""
        uid, pod = around.session.metadata.uid, next((one for one in around.pods if one.cannot_pull), None)
        if pod is None:
            return around
        known = self._since.get(uid)
        if known is None or known[0] != pod.uid:
            known = self._since[uid] = pod.uid, clock
        return replace(around, cannot_pull_for=timedelta(seconds=clock - known[1]))

    def forget(self, uid: str) -> None:
        """Forget a session that is gone."""
        self._since.pop(uid, None)
