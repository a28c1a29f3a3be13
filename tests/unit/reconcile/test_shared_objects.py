"""What sessions share is looked for by one of them at a time, so that only one makes it."""

import asyncio
from typing import cast

from agentsessions.api.base import Json
from agentsessions.kube.client import Kube
from agentsessions.kube.paths import Kind
from agentsessions.reconcile.apply import apply
from agentsessions.reconcile.model import Ensure

POLICY = {"kind": "NetworkPolicy", "metadata": {"namespace": "team", "name": "shared"}, "spec": {"ingress": []}}


class SlowApi:
    """Answers a read only after everybody else has had a turn, as a network does."""

    def __init__(self) -> None:
        self.object: Json | None = None
        self.creates = 0

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        """Return what stood there when the question was put."""
        answer = self.object
        await asyncio.sleep(0)
        return answer

    async def create(self, kind: Kind, manifest: Json) -> Json:
        """Count the request, whatever comes of it."""
        self.creates += 1
        await asyncio.sleep(0)
        self.object = manifest
        return manifest


async def test_many_sessions_that_start_at_once_make_one_policy() -> None:
    api = SlowApi()
    starts = (apply((Ensure(POLICY, look=True),), cast(Kube, api)) for _ in range(10))
    await asyncio.gather(*starts)
    assert api.creates == 1
