"""The cluster under test and a namespace for each test. Without a cluster these tests fail; they never skip."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

import cluster
from cluster.local import images
from cluster_checks.bench import Bench

SECONDS = 300
HERE = Path(__file__).parent


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """The checks in `local` are of that provider; the report's header says when they are left out."""
    return True if collection_path == HERE / "local" and cluster.provider().name != "local" else None


def pytest_report_header() -> str:
    """Say which cluster it is."""
    name = cluster.provider().name
    return f"cluster: {name}" + ("" if name == "local" else " (checks of the local provider's own promises left out)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bound every test."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(SECONDS))


@pytest.fixture(scope="session")
def provider() -> cluster.Provider:
    """A cluster that is up and has the image for probing."""
    found = cluster.provider()
    found.up()
    found.load_images([images.busybox().path])
    return found


@pytest.fixture
def bench(provider: cluster.Provider) -> Iterator[Bench]:
    """A namespace of the test's own."""
    own = Bench(provider, f"check-{secrets.token_hex(4)}")
    own.kubectl("create", "namespace", own.namespace)
    own.wait_for_account()
    yield own
    own.kubectl("delete", "namespace", own.namespace, "--wait=false")
