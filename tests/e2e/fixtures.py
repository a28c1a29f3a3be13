"""The fixtures of tests on a real cluster: the operator from its chart, the stand-in, and a namespace for each test.

Nothing is replaced by a fake but the model. Where no cluster can be had the run fails; it never skips.
"""

import os
import secrets
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress

import pytest

import cluster
from demo.images import Images
from e2e import guard, install, manifests
from e2e.api import ACCOUNTS, NAMESPACES, Api, ApiError
from e2e.audit import AuditLog
from e2e.diagnosis import diagnose
from e2e.gateway import Gateway, reached
from e2e.lab import Lab, Labs
from e2e.operator_pod import Operator
from e2e.stage import Stage
from e2e.terminal import Terminal
from e2e.waiting import wait_for
from e2e.witness import Witness


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of tests that end the operator on purpose."""
    config.addinivalue_line("markers", "ends_operator: the test ends or restarts the operator")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the state of the test's namespace to the report of a failure."""
    report = yield
    labs = [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Lab)]
    if report.failed and call.when == "call":
        report.sections += [("cluster", diagnose(lab.api, lab.operator, lab.namespace)) for lab in labs]
    return report


@pytest.fixture(scope="session")
def images() -> Images:
    """All images that tests run, built from this checkout."""
    return install.build_images()


@pytest.fixture(scope="session")
def provider(images: Images) -> cluster.Provider:
    """A cluster that is up and has the images."""
    found = cluster.provider()
    install.provide(found, images)
    return found


@pytest.fixture(scope="session")
def terminal(provider: cluster.Provider) -> Terminal:
    """kubectl and helm."""
    return Terminal(provider.kubeconfig())


@pytest.fixture(scope="session")
def api(provider: cluster.Provider) -> Iterator[Api]:
    """The cluster's API."""
    connection = Api(provider.kubeconfig())
    yield connection
    connection.close()


@pytest.fixture(scope="session")
def audit_log(provider: cluster.Provider) -> AuditLog | None:
    """The API server's audit log, where it can be read."""
    return AuditLog(provider.audit_log) if provider.audit_log else None


@pytest.fixture(scope="session")
def operator(terminal: Terminal, api: Api, images: Images) -> Iterator[Operator]:
    """The operator, installed by its chart only, with the stand-in as its model endpoint."""
    found = Operator(api, terminal)
    install.install_stand_in(terminal, api, images)
    with found.taken_over():
        install.install_operator(terminal, found, install.values(images))
    yield found
    guard.check_operator(found, api)


@pytest.fixture(scope="module")
def gateway(api: Api, terminal: Terminal, operator: Operator) -> Iterator[Gateway]:
    """Ways to the gateways of the release, opened anew for each module: some end gateways on purpose."""
    with reached(api, terminal) as found:
        yield found


@pytest.fixture(scope="session")
def witness(api: Api, operator: Operator) -> Iterator[Witness]:
    """A watch on all agent pods of the run."""
    watcher = Witness(api)
    watcher.start()
    yield watcher
    watcher.stop()


@pytest.fixture(scope="session")
def labs(
    api: Api, terminal: Terminal, operator: Operator, witness: Witness, audit_log: AuditLog | None, images: Images
) -> Labs:
    """Opens a namespace for a test or for a module; see `lab`."""

    @contextmanager
    def opened(*, ends_operator: bool = False, name: str = "") -> Iterator[Lab]:
        if name:  # that of an earlier run may still be on its way out
            wait_for(api, NAMESPACES, None, name, lambda thing: thing is None, "its end")
        name = name or f"e2e-{secrets.token_hex(4)}"
        api.create(manifests.namespace(name))
        wait_for(api, ACCOUNTS, name, "default", lambda thing: thing is not None, "the account that pods have")
        before, mark = operator.identity(), audit_log.mark() if audit_log else 0
        try:
            yield Lab(name, api, terminal, operator, witness, images)
            if ends_operator:
                operator.wait_ready()
            witness.check(name)
            guard.check_events(api, name)
            guard.check_operator(operator, api)
            if audit_log:
                guard.check_audit(audit_log.since(mark), operator.dawns)
            assert ends_operator or operator.identity() == before, "the operator's container was restarted"
        finally:
            if not os.environ.get("AGENTSESSIONS_E2E_KEEP"):
                _delete(api, name)

    return opened


@pytest.fixture(scope="module")
def stage(labs: Labs, gateway: Gateway) -> Iterator[Stage]:
    """A namespace with somebody in it who may talk; modules that need a pool or more have a stage of their own."""
    with labs() as lab:
        yield Stage.built(lab, gateway)


@pytest.fixture
def lab(request: pytest.FixtureRequest, labs: Labs) -> Iterator[Lab]:
    """A namespace of the test's own; afterwards, what must hold in every test is checked and the namespace deleted."""
    with labs(ends_operator=request.node.get_closest_marker("ends_operator") is not None) as own:
        yield own


def _delete(api: Api, namespace: str) -> None:
    """Delete a namespace, unless the test has done it."""
    with suppress(ApiError):
        api.delete(NAMESPACES, None, namespace)
