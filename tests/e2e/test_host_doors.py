"""A host opens to nothing but a token for this pod and this session: not to neighbours, nor to its own agent."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from e2e import manifests
from e2e.api import PODS, Json
from e2e.forwarding import forwarded
from e2e.gateway import Gateway, fetch, said
from e2e.lab import Labs
from e2e.stage import Stage
from e2e.tokens import Signer, ask, refused

LEEWAY_SECONDS = 30
"""How long after its end a host still takes a token, for clocks that differ."""

NOBODY = "6f0c1b9e-0000-4000-8000-000000000009"


@dataclass(frozen=True)
class Scene:
    """Two sessions, each on a host of its own, and the key by which both hosts know the control plane."""

    stage: Stage
    signer: Signer

    def session(self, name: str) -> tuple[str, Json]:
        """Return a session's id and its host, as status has it."""
        found = self.stage.lab.session(name)
        return str(found["metadata"]["uid"]), found["status"]["host"]


@pytest.fixture(scope="module")
def scene(labs: Labs, gateway: Gateway) -> Iterator[Scene]:
    """A host for each of two sessions: there is room for one on each."""
    with labs() as lab:
        stage = Stage.built(lab, gateway)
        stage.pool(replicas=2, sessionsPerHost=1)
        for name in ("alice", "bob"):
            stage.session(name)
        hosts = {one["status"]["host"]["pod"] for one in stage.running("alice", "bob").values()}
        assert len(hosts) == 2
        yield Scene(stage, Signer.of(lab.api, lab.terminal, stage.hosts()[0]))


@pytest.mark.requirement("H34", "H37")
async def test_a_host_opens_to_nothing_but_a_token_for_this_pod_and_session(scene: Scene) -> None:
    (uid, host), (other, theirs) = scene.session("alice"), scene.session("bob")
    sign, now = scene.signer.token, int(time.time())
    good = {"iss": "agentsessions.dev", "aud": host["podUID"], "sub": uid, "scope": "session", "exp": now + 60}
    kid = {"kid": scene.signer.key_id}
    cases = {
        "": (401, "no-token"),
        "nonsense": (401, "bad-token"),
        sign(host["podUID"], uid, by=Ed25519PrivateKey.generate()): (401, "bad-token"),
        jwt.encode(good | {"iat": now}, "x" * 32, algorithm="HS256", headers=kid): (401, "bad-token"),
        sign(host["podUID"], uid, iat=now - 600, exp=now - 300): (401, "expired-token"),
        sign(host["podUID"], uid, exp=now + 86_400): (401, "long-lived-token"),
        sign(theirs["podUID"], uid): (421, "misdirected"),
        sign(theirs["podUID"], other): (421, "misdirected"),
        sign(host["podUID"], other): (403, "wrong-session"),
        sign(host["podUID"], NOBODY): (403, "wrong-session"),
        sign(host["podUID"], uid, scope="ports", port=3000): (403, "wrong-scope"),
        sign(host["podUID"], uid, scope="watch"): (403, "wrong-scope"),
    }
    with forwarded(scene.stage.lab.terminal, scene.stage.lab.namespace, host["pod"], 8000) as url:
        before = refused(await asyncio.to_thread(fetch, f"{url}/metrics"))
        for token, (status, reason) in cases.items():
            assert await ask(url, uid, token) == status, reason
        assert await ask(url, uid, sign(host["podUID"], uid)) == 200
        after = refused(await asyncio.to_thread(fetch, f"{url}/metrics"))
    reasons = [reason for _, reason in cases.values()]
    assert {reason: after[reason] - before.get(reason, 0) for reason in reasons} == {
        reason: reasons.count(reason) for reason in reasons
    }


@pytest.mark.requirement("H34")
async def test_a_token_that_was_good_is_refused_when_its_time_is_over(scene: Scene) -> None:
    uid, host = scene.session("alice")
    left = 8
    with forwarded(scene.stage.lab.terminal, scene.stage.lab.namespace, host["pod"], 8000) as url:
        await asyncio.to_thread(fetch, f"{url}/metrics")  # the way is open from here on
        end = int(time.time()) - LEEWAY_SECONDS + left
        token = scene.signer.token(host["podUID"], uid, iat=end - 60, exp=end)
        assert await ask(url, uid, token) == 200
        await asyncio.sleep(left + 1)
        before = refused(await asyncio.to_thread(fetch, f"{url}/metrics")).get("expired-token", 0)
        assert await ask(url, uid, token) == 401
        assert refused(await asyncio.to_thread(fetch, f"{url}/metrics"))["expired-token"] - before == 1


@pytest.mark.requirement("H34", "H24")
async def test_another_agent_cannot_reach_a_host(scene: Scene) -> None:
    lab, (_, theirs) = scene.stage.lab, scene.session("bob")
    found = lab.api.get(PODS, lab.namespace, theirs["pod"])
    assert found is not None
    look = f"curl -s -m 4 -o /dev/null -w '%{{http_code}}' http://{found['status']['podIP']}:8000/health"
    events = await scene.stage.client("alice").say(manifests.bash(f"{look}; true"), manifests.say("{{toolResult}}"))
    assert said(events)[-1] == "000"
    # The way is closed by policy, not for want of a server.
    with forwarded(lab.terminal, lab.namespace, theirs["pod"], 8000) as url:
        assert "ok" in await asyncio.to_thread(fetch, f"{url}/health")


@pytest.mark.requirement("H34", "H25")
async def test_an_agent_gets_nothing_from_its_own_host_and_its_tries_are_counted(scene: Scene) -> None:
    lab, (uid, host) = scene.stage.lab, scene.session("alice")
    paths = ("/sessions", "/events", f"/sessions/{uid}", f"/sessions/{uid}/transcript", "/sessions/-/ports/8000/health")
    look = "; ".join(f"curl -s -m 9 -o /dev/null -w '%{{http_code}} ' http://127.0.0.1:8000{path}" for path in paths)
    with forwarded(lab.terminal, lab.namespace, host["pod"], 8000) as url:
        before = refused(await asyncio.to_thread(fetch, f"{url}/metrics")).get("no-token", 0)
        events = await scene.stage.client("alice").say(manifests.bash(look), manifests.say("{{toolResult}}"))
        after = refused(await asyncio.to_thread(fetch, f"{url}/metrics"))["no-token"]
    assert said(events)[-1].split() == ["401"] * len(paths)
    assert after - before == len(paths)
