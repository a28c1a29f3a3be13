"""`helm uninstall` takes nobody's conversation along: agents work on, and a later install goes on with them."""

import asyncio

import pytest

from e2e import install
from e2e.api import PODS, SESSIONS, Api
from e2e.gateway import reached, said
from e2e.lab import Labs
from e2e.manifests import say
from e2e.operator_pod import NAMESPACE, RELEASE, Operator
from e2e.stage import Stage
from e2e.waiting import eventually

_RELEASE = f"app.kubernetes.io/instance={RELEASE}"


@pytest.mark.timeout(600)
@pytest.mark.requirement("K01", "K02")
async def test_what_users_have_outlives_the_release(labs: Labs, operator: Operator) -> None:
    """Told to a store of the release itself, whose volume stays, too."""
    with labs(ends_operator=True) as lab:
        with reached(lab.api, lab.terminal) as ways:
            stage = Stage.built(lab, ways)
            await asyncio.to_thread(stage.hybrid, "kept", sessionStore={"type": "Embedded"}, idleTimeoutSeconds=3600)
            assert said(await stage.client("kept").say(say("first"))) == ["first"]
        before = await asyncio.to_thread(lab.reason, "kept", "Running")
        operator.keep_evidence()
        with operator.disowned():
            lab.terminal.helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout", "3m")
            await asyncio.to_thread(eventually, lambda: _pods(lab.api), lambda found: not found, "the release's end")
        alone = lab.session("kept")
        assert alone["metadata"]["uid"] == before["metadata"]["uid"]
        assert alone["status"]["host"] == before["status"]["host"]
        (pod,) = lab.pods(alone)
        assert (pod["metadata"]["uid"], pod["status"]["phase"]) == (before["status"]["host"]["podUID"], "Running")
        install.install_operator(lab.terminal, operator, install.values(lab.images))
        with reached(lab.api, lab.terminal) as ways:
            stage = Stage.built(lab, ways)
            assert said(await stage.client("kept").say(say("second"))) == ["second"]
            assert lab.session("kept")["status"]["host"]["podUID"] == pod["metadata"]["uid"], "in the same pod"
            lab.api.patch(SESSIONS, lab.namespace, "kept", {"spec": {"suspended": True}})
            await asyncio.to_thread(lab.reason, "kept", "Suspended")
            lab.api.patch(SESSIONS, lab.namespace, "kept", {"spec": {"suspended": None}})
            await asyncio.to_thread(stage.asleep, "kept")
            assert said(await stage.client("kept").say(say("third"))) == ["third"]
        assert len(lab.model_heard(lab.session("kept"))) == 3, "and all of it was in the store"


def _pods(api: Api) -> list[str]:
    """Return the pods of the release."""
    return [str(one["metadata"]["name"]) for one in api.list(PODS, NAMESPACE, labelSelector=_RELEASE)]
