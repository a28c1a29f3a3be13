"""Reads that the API server fails to answer are tried once more; writes are not."""

from dataclasses import dataclass, field

import pytest

from agentsessions.api.base import Json
from agentsessions.kube import client
from agentsessions.kube.client import Kube
from agentsessions.kube.errors import KubeError, Transient, error_for
from agentsessions.kube.pace import Pace
from agentsessions.kube.paths import LEASES, PODS, Kind


@dataclass
class Answering(Kube):
    """An API server that answers with these codes, one after the other."""

    codes: list[int]
    sent: list[str] = field(default_factory=list)
    pace: Pace = field(default_factory=Pace)

    async def _send(
        self, verb: str, kind: Kind, path: str, query: dict[str, str], body: Json | None, types: tuple[str, str]
    ) -> Json:
        self.sent.append(verb)
        code = self.codes.pop(0)
        if code >= 400 or not code:
            raise error_for(code, {}) if code else Transient(0, "no answer")
        return {"kind": "Pod"}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits."""
    monkeypatch.setattr(client, "_PAUSE", (0, 0))


@pytest.mark.requirement("K02")
@pytest.mark.parametrize("code", [429, 500, 503])
async def test_a_read_is_tried_once_more(code: int) -> None:
    server = Answering([code, 200])
    assert await server.get(PODS, "team-a", "one") == {"kind": "Pod"}
    assert server.sent == ["GET", "GET"]


async def test_and_not_for_ever() -> None:
    server = Answering([429, 500, 200])
    with pytest.raises(Transient):
        await server.get(PODS, "team-a", "one")
    assert server.sent == ["GET", "GET"]


@pytest.mark.parametrize("code", [0, 401, 403, 409, 410])
async def test_what_would_be_answered_alike_or_too_late_is_not_asked_again(code: int) -> None:
    server = Answering([code, 200])
    with pytest.raises(KubeError):
        await server.get(PODS, "team-a", "one")
    assert server.sent == ["GET"]


async def test_what_is_not_there_is_not_looked_for_again() -> None:
    server = Answering([404])
    assert await server.get(PODS, "team-a", "one") is None
    assert server.sent == ["GET"]


async def test_a_write_is_the_queues_to_try_again() -> None:
    server = Answering([500, 200])
    with pytest.raises(Transient):
        await server.create(PODS, {"metadata": {"namespace": "team-a"}})
    assert server.sent == ["POST"]


async def test_whoever_asks_for_the_lease_has_no_time_for_that() -> None:
    server = Answering([500, 200])
    with pytest.raises(Transient):
        await server.get(LEASES, "team-a", "leader")
    assert server.sent == ["GET"]
