"""People of an identity provider: Envoy checks their tokens, Kubernetes' own rules say what they may."""

import base64
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from demo.images import Images
from e2e import idp, install, manifests
from e2e.api import DEPLOYMENTS, Api
from e2e.gateway import Gateway, reached, said
from e2e.lab import Labs
from e2e.operator_pod import NAMESPACE, Operator, is_rolled_out
from e2e.stage import Stage
from e2e.terminal import Terminal
from e2e.waiting import wait_for


@dataclass(frozen=True)
class Scene:
    """A stage whose gateway trusts a provider."""

    stage: Stage
    provider: idp.Provider

    async def status(self, token: str, **headers: str) -> int:
        """Return how a request for the session is answered to the bearer of a token."""
        return (await self.stage.client("alice", token=token or " ").status(headers=headers))[0]


@pytest.fixture(scope="module")
def scene(labs: Labs, api: Api, terminal: Terminal, operator: Operator, images: Images) -> Iterator[Scene]:
    """A session, a provider that the release trusts for this module, and two of the provider's people with rights."""
    plain = install.values(images)
    with labs() as lab:
        provider = idp.Provider(lab.namespace)
        provider.start(lab)
        trusting = plain | {"gateway": plain["gateway"] | {"oidc": provider.values()}}
        _install(terminal, operator, api, trusting)
        try:
            with reached(api, terminal) as gateway:
                yield Scene(_stage(gateway, lab.api, Stage.built(lab, gateway)), provider)
        finally:
            _install(terminal, operator, api, plain)


def _install(terminal: Terminal, operator: Operator, api: Api, values: dict[str, object]) -> None:
    install.install_operator(terminal, operator, values)
    wait_for(api, DEPLOYMENTS, NAMESPACE, "agentsessions-gateway", is_rolled_out, "the gateways")


def _stage(gateway: Gateway, api: Api, stage: Stage) -> Stage:
    """Fill the stage."""
    space = stage.lab.namespace
    api.apply(idp.binding(space, "user", "User", "oidc:ann"))
    api.apply(idp.binding(space, "group", "Group", "oidc:support"))
    stage.pool(replicas=1)
    stage.session("alice")
    stage.running("alice")
    return stage


@pytest.mark.requirement("H34")
async def test_a_user_and_a_group_of_the_provider_talk(scene: Scene) -> None:
    for token in (scene.provider.token(sub="ann"), scene.provider.token(sub="bea", groups=["support"])):
        assert said(await scene.stage.client("alice", token=token).say(manifests.say("welcome"))) == ["welcome"]


@pytest.mark.requirement("H34")
async def test_who_has_no_rights_sees_nothing(scene: Scene) -> None:
    assert await scene.status(scene.provider.token(sub="stranger")) == 404
    # The prefix keeps the provider's names apart from those of Kubernetes.
    account = f"system:serviceaccount:{scene.stage.lab.namespace}:app"
    assert await scene.status(scene.provider.token(sub=account)) == 404
    assert await scene.status(scene.provider.token(sub="stranger", groups=["system:masters"])) == 404


@pytest.mark.requirement("H34")
async def test_tokens_that_the_provider_did_not_give_for_us_are_refused(scene: Scene) -> None:
    provider, now = scene.provider, int(time.time())
    public = provider.key.public_key().public_numbers().n.to_bytes(256, "big")
    whole = provider.token(sub="ann")
    head, claims, _ = whole.split(".")
    unsigned = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "JWT"}).encode()).decode().rstrip("=")
    wrong = {
        "another key": provider.token(sub="ann", key=idp.new_key()),
        "over": provider.token(sub="ann", iat=now - 900, exp=now - 300),
        "not yet": provider.token(sub="ann", nbf=now + 600),
        "for others": provider.token(sub="ann", aud="another-service"),
        "of others": provider.token(sub="ann", iss="https://elsewhere.example.com"),
        "no name": provider.token(),
        "public key as secret": provider.token(sub="ann", key=public, algorithm="HS256"),
        "no signature": f"{head}.{claims}.",
        "no algorithm": f"{unsigned}.{claims}.",
    }
    assert {name: await scene.status(token) for name, token in wrong.items()} == dict.fromkeys(wrong, 401)


@pytest.mark.requirement("H34")
async def test_what_envoy_has_found_out_cannot_be_said_by_a_client(scene: Scene) -> None:
    claims = base64.urlsafe_b64encode(json.dumps({"sub": "ann"}).encode()).decode()
    assert await scene.status("", **{"X-Agentsessions-Jwt-Payload": claims}) == 401
    stranger = scene.provider.token(sub="stranger")
    assert await scene.status(stranger, **{"X-Agentsessions-Jwt-Payload": claims}) == 404


@pytest.mark.requirement("H34")
async def test_tokens_of_kubernetes_still_count(scene: Scene) -> None:
    assert await scene.status(scene.stage.token) == 200
