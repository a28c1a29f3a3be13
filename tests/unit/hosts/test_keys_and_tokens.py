"""The signing key, and the tokens made with it: for one pod, one scope, a minute."""

import base64
import json
import time
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from agentrunner.serving.problems import Problem
from agentrunner.serving.tokens import Verifier
from agentsessions.api.config import SigningKey
from agentsessions.api.host import MAX_TOKEN_SECONDS, Scope
from agentsessions.hosts.clocks import HostClocks
from agentsessions.hosts.keys import BadKey, ensure_keys, key_ring, load_keys, new_key
from agentsessions.hosts.tokens import LIFE_SECONDS, Signer
from agentsessions.kube.paths import SECRETS
from unit.hosts.fakehost import verified
from unit.world import Request, World

WHERE = SigningKey()


def ids(keys: str) -> list[str]:
    """Return the ids of public keys."""
    return [key["kid"] for key in json.loads(keys)["keys"]]


async def test_a_missing_key_is_made_once_and_read_from_then_on() -> None:
    world = World()
    first = await ensure_keys(world, WHERE)  # type: ignore[arg-type]
    second = await ensure_keys(world, WHERE)  # type: ignore[arg-type]
    assert first.key_id == second.key_id
    assert len(world.writes()) == 1


async def test_of_two_who_make_the_key_the_first_counts() -> None:
    world, other = World(), base64.b64encode(new_key()).decode()

    def rival(when: str, request: Request) -> None:
        if (when, request.verb) == ("before", "POST"):
            meta = {"namespace": WHERE.namespace, "name": WHERE.name}
            world.add(SECRETS, {"metadata": meta, "data": {"key.pem": other}})

    world.around = rival
    found = await ensure_keys(world, WHERE)  # type: ignore[arg-type]
    assert found.key_id == key_ring(base64.b64decode(other)).key_id


async def test_a_secret_without_a_key_is_said_to_be_one() -> None:
    world = World()
    world.add(SECRETS, {"metadata": {"namespace": WHERE.namespace, "name": WHERE.name}, "data": {}})
    with pytest.raises(BadKey, match=r"has no key 'key\.pem'"):
        await ensure_keys(world, WHERE)  # type: ignore[arg-type]


def test_public_keys_carry_nothing_private_and_name_themselves_by_thumbprint() -> None:
    ring = key_ring(new_key())
    (public,) = json.loads(ring.public_keys)["keys"]
    assert set(public) == {"alg", "crv", "kid", "kty", "use", "x"}
    assert public["kid"] == ring.key_id
    assert "PRIVATE" not in repr(ring)


def test_during_a_rotation_both_keys_are_trusted_and_the_new_one_signs(tmp_path: Path) -> None:
    old, new = new_key(), new_key()
    (tmp_path / "key.pem").write_bytes(new)
    (tmp_path / "previous.pem").write_bytes(old)
    ring = load_keys(tmp_path)
    assert ids(ring.public_keys) == [key_ring(new).key_id, key_ring(old).key_id]
    verified(Signer(ring).token("pod", Scope.HOST), ring, "pod")
    verified(Signer(key_ring(old)).token("pod", Scope.HOST), ring, "pod")


@pytest.mark.parametrize("content", [b"", b"hunter2", b"-----BEGIN PRIVATE KEY-----\nhunter2\n"])
def test_what_is_no_key_is_refused_without_a_word_of_it(content: bytes) -> None:
    with pytest.raises(BadKey, match=r"key\.pem") as caught:
        key_ring(content)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_key_of_another_kind_is_refused() -> None:
    rsa = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(BadKey, match="not an Ed25519 key"):
        key_ring(rsa)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadKey, match=r"key\.pem: No such file"):
        load_keys(tmp_path)


def test_a_token_says_what_it_is_for_and_lives_a_minute() -> None:
    ring = key_ring(new_key())
    claims = verified(Signer(ring).token("pod-1", Scope.PORTS, "session-1", port=3000), ring, "pod-1")
    assert (claims["aud"], claims["sub"], claims["scope"], claims["port"]) == ("pod-1", "session-1", "ports", 3000)
    assert LIFE_SECONDS <= claims["exp"] - claims["iat"] <= MAX_TOKEN_SECONDS
    assert "ns" not in claims


def test_hosts_accept_the_tokens_and_nobody_elses() -> None:
    ring = key_ring(new_key())
    verifier = Verifier(ring.public_keys, "pod-1")
    caller = verifier.caller(Signer(ring).token("pod-1", Scope.SESSION, "session-1"))
    assert (caller.scope, caller.session_id) == (Scope.SESSION, "session-1")
    for token, status in [
        (Signer(ring).token("pod-2", Scope.HOST), 421),
        (Signer(key_ring(new_key())).token("pod-1", Scope.HOST), 401),
    ]:
        with pytest.raises(Problem) as caught:
            verifier.caller(token)
        assert caught.value.status == status


def test_a_token_for_an_implicit_session_carries_where_and_how_it_was_called() -> None:
    ring = key_ring(new_key())
    token = Signer(ring).token("pod-1", Scope.IMPLICIT, "session-1", namespace="team-a", name="alice")
    claims = verified(token, ring, "pod-1")
    assert (claims["ns"], claims["name"]) == ("team-a", "alice")


def test_a_token_is_for_one_pod_and_by_one_key() -> None:
    ring = key_ring(new_key())
    token = Signer(ring).token("pod-1", Scope.HOST)
    with pytest.raises(jwt.InvalidAudienceError):
        verified(token, ring, "pod-2")
    with pytest.raises(KeyError):
        verified(token, key_ring(new_key()), "pod-1")


def test_a_token_is_given_out_again_only_for_the_same_and_only_while_fresh() -> None:
    time = [1_800_000_000.0]
    signer = Signer(key_ring(new_key()), HostClocks(lambda: time[0]))
    first = signer.token("pod-1", Scope.SESSION, "a")
    assert signer.token("pod-1", Scope.SESSION, "a") == first
    others = {
        signer.token("pod-2", Scope.SESSION, "a"),
        signer.token("pod-1", Scope.HOST, "a"),
        signer.token("pod-1", Scope.SESSION, "b"),
        signer.token("pod-1", Scope.SESSION, "a", port=1),
    }
    assert len(others | {first}) == 5
    time[0] += LIFE_SECONDS - 20
    assert signer.token("pod-1", Scope.SESSION, "a") == first
    time[0] += 1
    assert signer.token("pod-1", Scope.SESSION, "a") != first


def test_the_number_of_remembered_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentsessions.hosts.tokens._REMEMBERED", 2)
    signer = Signer(key_ring(new_key()))
    for pod in ("a", "b", "c"):
        signer.token(pod, Scope.HOST)
    assert [key[0] for key in signer._cache] == ["b", "c"]


def test_a_token_of_a_time_before_the_clock_was_set_back_is_not_given_out_again() -> None:
    clock = [time.time() + 300]
    ring = key_ring(new_key())
    signer, verifier = Signer(ring, HostClocks(lambda: clock[0])), Verifier(ring.public_keys, "pod-1")
    ahead = signer.token("pod-1", Scope.HOST)
    with pytest.raises(Problem):
        verifier.caller(ahead)
    clock[0] -= 300
    assert verifier.caller(signer.token("pod-1", Scope.HOST)).scope is Scope.HOST
