"""Leadership by a Lease of coordination.k8s.io: taken, renewed, let go of; and whether one may still write."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from agentsessions import logs, metrics
from agentsessions.api.base import Json
from agentsessions.api.config import LeaderElection
from agentsessions.api.names import FIELD_MANAGER
from agentsessions.kube.client import Kube
from agentsessions.kube.errors import AlreadyExists, Conflict, KubeError
from agentsessions.kube.paths import LEASES
from agentsessions.policies.leadership import Sight, claim, gone, release, seen
from agentsessions.waiting import within


class LeadershipLost(Exception):
    """Another replica leads, or could by now: this process must not go on with what it knows."""


@dataclass
class Leadership:
    """One replica's part in an election. `identity` is its pod, `_`, and what is unlike in each of the pod's lives."""

    kube: Kube
    settings: LeaderElection
    identity: str
    _sight: Sight = field(default_factory=Sight)
    _until: float = 0.0

    def is_held(self) -> bool:
        """Return whether nobody else can have the Lease yet: it was renewed, and its time has not run out."""
        return time.monotonic() < self._until

    async def acquire(self, stop: asyncio.Event) -> bool:
        """Wait until this replica leads; False if it was told to stop before. The API server may be away meanwhile."""
        while not stop.is_set():
            if await self._try():
                metrics.leading.set(1)
                logs.info("leading", identity=self.identity)
                return True
            await within(self.settings.retry_seconds, stop.wait())
        return False

    async def hold(self) -> None:
        """Renew for ever; raises LeadershipLost once that has not succeeded for too long."""
        while True:
            await asyncio.sleep(self.settings.retry_seconds)
            left = self._until - time.monotonic()
            if left <= 0 or not (await self._try_within(left) or self.is_held()):
                metrics.leading.set(0)
                raise LeadershipLost(f"the Lease '{self.settings.name}' could not be renewed in time")

    async def release(self) -> None:
        """Let go of the Lease if it is held, so that another replica goes on at once."""
        if not self.is_held():
            return
        self._until = 0.0
        metrics.leading.set(0)
        with suppress(KubeError):
            await self._look()  # a renewal that was cut off may have been the last to write
            if self._sight.holder == self.identity:
                await self._write(release())
                logs.info("leadership released", identity=self.identity)

    async def _try_within(self, seconds: float) -> bool:
        """Try to renew; an answer that comes too late is none."""
        try:
            async with asyncio.timeout(seconds):
                return await self._try()
        except TimeoutError:
            return False

    async def _try(self) -> bool:
        """Take or renew the Lease if it is to be had; return whether it is ours."""
        began = time.monotonic()
        try:
            if not self._sight.version or self._sight.holder != self.identity:
                await self._look()
            if not self._sight.is_free_for(self.identity, time.monotonic()):
                return False
            spec = claim(self._sight, self.identity, self.settings, _now())
            lease = await (self._write(spec) if self._sight.version else self._make(spec))
        except (Conflict, AlreadyExists):
            self._sight = replace(self._sight, version="", holder="?")  # somebody else has written: look again
            return False
        except KubeError as error:
            logs.warning("no word of the Lease", lease=self.settings.name, error=str(error))
            return False
        self._sight = seen(lease, self._sight, time.monotonic())
        # Counted from before the write was sent, and by less than others wait.
        self._until = began + self.settings.renew_seconds
        return True

    async def _look(self) -> None:
        """See how the Lease stands. It is as old as the answer, not as the question: it may have changed in between."""
        lease = await self.kube.get(LEASES, self.settings.namespace, self.settings.name)
        now = time.monotonic()
        self._sight = gone(self._sight, now) if lease is None else seen(lease, self._sight, now)

    async def _make(self, spec: Json) -> Json:
        meta = {"name": self.settings.name, "namespace": self.settings.namespace}
        lease = {"apiVersion": LEASES.version, "kind": "Lease", "metadata": meta, "spec": spec}
        return await self.kube.create(LEASES, lease)

    async def _write(self, spec: Json) -> Json:
        """Write if nobody has written since; raises Conflict."""
        patch = {"metadata": {"resourceVersion": self._sight.version}, "spec": spec}
        return await self.kube.merge(LEASES, self.settings.namespace, self.settings.name, patch, manager=FIELD_MANAGER)


def _now() -> str:
    """Return the time as a MicroTime."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
