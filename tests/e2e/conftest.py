"""The order of the tests on a real cluster, how long each may take, and what is made before the first."""

import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from demo.images import Images
from e2e import leftovers as made
from e2e import manifests
from e2e.api import ACCOUNTS, NAMESPACES, Api
from e2e.lab import Lab
from e2e.operator_pod import Operator
from e2e.terminal import Terminal
from e2e.waiting import wait_for
from e2e.witness import Witness

pytest_plugins = ["e2e.fixtures"]
_SECONDS = 420
_ORDER = (
    "test_api",
    "test_crd_upgrade",
    "test_examples",
    "test_gitops",
    "test_ephemeral",
    "test_secrecy",
    "test_templates",
    "test_network",
    "test_own_image",
    "test_writes",
    "test_deletion",
    "test_manifests_at_random",
    "test_retries",
    "test_disruption",
    "test_limits",
    "test_conversation_bounds",
    "test_restarts",
    "test_gateway",
    "test_host_doors",
    "test_gateway_rolled",
    "test_oidc",
    "test_pools",
    "test_cookbook",
    "test_cookbook_cluster",
    "test_talk_ephemeral",
    "test_longrunning",
    "test_ring",
    "test_hybrid",
    "test_hybrid_stores",
    "test_rollout",
    "test_drained_turns",
    "test_forgotten",
    "test_wake_progress",
    "test_healing",
    "test_namespaces",
    "test_operator_process",
    "test_many",
    "test_operator_killed",
    "test_sweep",
    "test_rollout_paused",
    "test_uninstall",
    "test_herd",
    "test_leadership",
    "test_replicas",
    "test_watchdog",
    "test_release_upgraded",
    "test_node_loss",
)
"""Cheap modules first; those that end the operator last, since they would slow down what runs beside them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put modules in order, and bound every test."""
    here = str(Path(__file__).parent)
    ours = [item for item in items if str(item.path).startswith(here)]
    for item in ours:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_SECONDS))
    ranked = sorted(ours, key=lambda item: _ORDER.index(item.path.stem))
    first = items.index(ours[0]) if ours else 0
    rest = [item for item in items if item not in ours]
    items[:] = rest[:first] + ranked + rest[first:]


@pytest.fixture(scope="session")
def leftovers(
    api: Api, terminal: Terminal, operator: Operator, witness: Witness, images: Images
) -> Iterator[made.Leftovers]:
    """What sessions have left behind, older the later it is asked for."""
    name = f"e2e-{secrets.token_hex(4)}"
    api.create(manifests.namespace(name))
    try:
        wait_for(api, ACCOUNTS, name, "default", lambda thing: thing is not None, "the account that pods have")
        yield made.make(Lab(name, api, terminal, operator, witness, images))
    finally:
        api.delete(NAMESPACES, None, name)


@pytest.fixture(scope="session", autouse=True)
def _made_early(request: pytest.FixtureRequest) -> None:
    """Make what has to be old for a test before the first one, if that test is to run at all."""
    if any("leftovers" in getattr(item, "fixturenames", ()) for item in request.session.items):
        with suppress(Exception):  # the test that needs it tells what it was
            request.getfixturevalue("leftovers")
