"""One pass over a pool, the same for every trigger."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from agentsessions import logs, pool_metrics
from agentsessions.api.base import API_VERSION, Json
from agentsessions.api.conditions import Reason
from agentsessions.api.config import OperatorConfig
from agentsessions.api.names import CONTROLLER, STATUS_FIELD_MANAGER
from agentsessions.api.pool import AgentPool, AgentPoolStatus
from agentsessions.hosts.embeddedstore import with_store_url
from agentsessions.kube.client import Kube
from agentsessions.kube.errors import AlreadyExists, Conflict, Refused
from agentsessions.kube.paths import PODS, POOLS, SECRETS, kind_of
from agentsessions.policies.quantity import to_number
from agentsessions.reconcile.longrunning.driver import LongRunning
from agentsessions.reconcile.pools.model import PoolPlan, PoolSeen
from agentsessions.reconcile.pools.observe import UnreadablePool, observe
from agentsessions.reconcile.pools.plan import LOOK_AGAIN, make_plan
from agentsessions.reconcile.pools.rows import conditions
from agentsessions.reconcile.telling import post

Key = tuple[str, str]
_SURE_FOR = timedelta(minutes=5)
_HEARD_WITHIN = timedelta(minutes=2)
"""How long a host may be silent before only the statuses of its sessions count; else it could never be replaced."""


@dataclass
class PoolReconciler:
    """Brings one pool at a time to what its spec asks for."""

    kube: Kube
    config: OperatorConfig
    lasting: LongRunning
    clock: Callable[[], datetime]
    reporter: str = CONTROLLER
    _written: dict[str, datetime] = field(default_factory=dict)
    _made: dict[Key, datetime] = field(default_factory=dict)
    _silent: dict[Key, dict[str, datetime]] = field(default_factory=dict)
    _unkept: dict[Key, tuple[Json, object]] = field(default_factory=dict)

    async def reconcile(self, key: Key) -> timedelta | None:
        """Reconcile the pool; return when to look again. Raises KubeError."""
        now = self.clock().replace(microsecond=0)
        try:
            seen = await observe(key, self.kube, self.lasting, self._written.get("/".join(key)), now)
        except UnreadablePool as error:
            logs.warning(
                "pool cannot be read: CRD and operator differ", namespace=key[0], name=key[1], fields=str(error)
            )
            return None
        if seen is None:
            self._silent.pop(key, None)
            pool_metrics.gone(*key)
            return None
        seen = self._patient(key, seen, now)
        plan = await self._carried_out(seen, make_plan(seen, now, with_store_url(self.config)), now)
        if plan.status != seen.pool.status:
            await self._write(seen.pool, plan.status)
            self._written["/".join(key)] = now
            pool_metrics.rolled(seen.pool.status.rollout, plan.status.rollout)
            await post(seen.pool, plan.notices, kube=self.kube, now=self.clock(), reporter=self.reporter)
        pool_metrics.seen(*key, plan.status)
        return plan.requeue

    def _patient(self, key: Key, seen: PoolSeen, now: datetime) -> PoolSeen:
        """Return what is seen, without hosts that have been silent for too long to be waited for."""
        before = self._silent.get(key, {})
        self._silent[key] = since = {uid: before.get(uid, now) for uid in seen.silent}
        return replace(seen, silent=frozenset(uid for uid in since if now - since[uid] < _HEARD_WITHIN))

    async def _carried_out(self, seen: PoolSeen, plan: PoolPlan, now: datetime) -> PoolPlan:
        """Make the children what they should be; what the API server refuses is said in status."""
        try:
            for manifest in plan.children:
                await self._ensure(manifest, seen)
            for host in plan.lost:
                self.lasting.occupancy.give_up(host.uid)
                with suppress(Conflict):  # another pod has the name by now
                    await self.kube.delete(PODS, seen.pool.metadata.namespace, host.name, grace=0, uid=host.uid)
        except Refused as error:
            problem = (Reason.POD_REJECTED, error.message)
            before, said = seen.pool.status, conditions(seen, plan.status, seen.pool.status.conditions, now, problem)
            update: Json = {"conditions": said}
            if plan.notices:  # they tell of what was not done: the next pass decides, and tells, anew
                update |= {"rollout": before.rollout, "template_hash": before.template_hash}
            return PoolPlan(plan.status.model_copy(update=update), requeue=LOOK_AGAIN)
        return plan

    async def _ensure(self, manifest: Json, seen: PoolSeen) -> None:
        """Create what is missing and set right what differs from what we say of it."""
        kind, meta = kind_of(manifest), manifest["metadata"]
        if kind is SECRETS:
            await self._create_now_and_then(manifest, seen)
            return
        present = await self.kube.get(kind, meta["namespace"], meta["name"])
        if present is None:
            # By its own verb: in a namespace that is going, a refused creation is told apart from a missing right.
            with suppress(AlreadyExists):
                await self.kube.create(kind, manifest)
        elif not covers(present, manifest):
            await self._set_right(manifest, present)

    async def _set_right(self, manifest: Json, present: Json) -> None:
        """Apply what differs; what the API server, an older one, did not keep of the same last time is left at that."""
        key = (manifest["kind"], "/".join((manifest["metadata"]["namespace"], manifest["metadata"]["name"])))
        generation = present["metadata"].get("generation")
        if generation is not None and self._unkept.get(key) == (manifest, generation):
            return
        kept = await self.kube.apply(kind_of(manifest), manifest)
        self._unkept.pop(key, None)
        if not covers(kept, manifest):
            self._unkept[key] = (manifest, kept["metadata"].get("generation"))

    async def _create_now_and_then(self, manifest: Json, seen: PoolSeen) -> None:
        """Create an immutable Secret, which the operator cannot read: at first, when a host is in trouble, at times."""
        meta, now = manifest["metadata"], self.clock()
        key = (meta["namespace"], meta["name"])
        known = self._made.get(key)
        if known is not None and seen.trouble is None and now - known < _SURE_FOR:
            return
        with suppress(AlreadyExists):
            await self.kube.create(SECRETS, manifest)
        self._made[key] = now

    async def _write(self, pool: AgentPool, status: AgentPoolStatus) -> None:
        """Write the status once; a pool that changed since it was read is looked at again instead."""
        meta = pool.metadata
        manifest = {
            "apiVersion": API_VERSION,
            "kind": "AgentPool",
            "metadata": {
                "name": meta.name,
                "namespace": meta.namespace,
                "uid": meta.uid,
                "resourceVersion": meta.resource_version,
            },
            "status": status.to_json(),
        }
        await self.kube.apply(POOLS, manifest, manager=STATUS_FIELD_MANAGER, subresource="status")


_QUANTITIES = frozenset({"limits", "requests", "emptyDir"})
"""Where the API server rewrites values: 1024Mi comes back as 1Gi."""


def covers(present: Any, wanted: Any, *, quantities: bool = False) -> bool:
    """Return whether an object has all that is wanted of it; what the API server or others add does not matter."""
    if isinstance(wanted, dict):
        return isinstance(present, dict) and all(
            covers(present.get(key), value, quantities=quantities or key in _QUANTITIES)
            for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        same = isinstance(present, list) and len(present) == len(wanted)
        return same and all(covers(one, other) for one, other in zip(present, wanted, strict=True))
    if quantities and isinstance(present, str) and isinstance(wanted, str):
        return _amount(present) == _amount(wanted)
    return bool(present == wanted) or (wanted in ("", None) and present is None)


def _amount(text: str) -> object:
    """Return a quantity as a number, anything else as it is."""
    try:
        return to_number(text)
    except ValueError:
        return text
