"""Putting the operator together: waiting for the CRDs, chores that survive, an honest exit code."""

import asyncio
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from agentsessions import __main__ as command_line
from agentsessions import metrics
from agentsessions.api.config import Admission as Rules
from agentsessions.api.config import KubernetesApi, OperatorConfig
from agentsessions.api.session import AgentSessionSpec
from agentsessions.api.status import Host
from agentsessions.handlers import main
from agentsessions.handlers.server import Health
from agentsessions.kube.errors import KubeError, NotFound, Transient
from agentsessions.kube.pace import Pace
from agentsessions.kube.paths import SESSIONS
from agentsessions.reconcile.admission import Admission
from agentsessions.reconcile.audit import Auditor
from agentsessions.reconcile.model import Need
from agentsessions.reconcile.queue import SessionQueue
from unit.make import NOW, make_session
from unit.world import World


@dataclass
class Cluster(World):
    """A world whose API server may say no to a list."""

    troubles: list[KubeError] = field(default_factory=list)
    closed: bool = False

    async def list(self, *arguments: Any, **options: Any) -> Any:
        """List, or fail."""
        if self.troubles:
            raise self.troubles.pop(0)
        return await super().list(*arguments, **options)

    async def close(self) -> None:
        """Note that the connections were closed."""
        self.closed = True


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()

    async def connect() -> Cluster:
        return made

    monkeypatch.setattr(main.Kube, "connect", connect)
    return made


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing wait."""
    monkeypatch.setattr(main, "_CRD_SECONDS", 0)
    monkeypatch.setattr(main, "_AUDIT_SECONDS", 0)


class Kopf:
    """Stands for kopf.operator: runs until the stop flag, or ends in its own way."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.started = asyncio.Event()
        self.options: dict[str, Any] = {}

    async def __call__(self, **options: Any) -> None:
        self.options = options
        self.started.set()
        if self.error:
            raise self.error
        await options["stop_flag"].wait()


@pytest.fixture
async def watching(monkeypatch: pytest.MonkeyPatch) -> Kopf:
    made = Kopf()
    monkeypatch.setattr(main.kopf, "operator", made)
    return made


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_operator_well(number: signal.Signals, cluster: Cluster, watching: Kopf) -> None:
    running = asyncio.create_task(main._main(OperatorConfig(), free_port()))
    await watching.started.wait()
    signal.raise_signal(number)
    assert await running == 0
    assert cluster.closed


@pytest.mark.parametrize(
    ("namespaces", "clusterwide"), [pytest.param([], True, id="all"), pytest.param(["a", "b"], False, id="some")]
)
async def test_the_namespaces_of_the_configuration_are_watched(
    namespaces: list[str], clusterwide: bool, cluster: Cluster, watching: Kopf
) -> None:
    config = OperatorConfig(watch_namespaces=namespaces)
    running = asyncio.create_task(main._main(config, free_port()))
    await watching.started.wait()
    watching.options["stop_flag"].set()
    await running
    assert (watching.options["namespaces"], watching.options["clusterwide"]) == (namespaces, clusterwide)


async def test_the_bounds_on_requests_are_those_of_the_configuration(cluster: Cluster, watching: Kopf) -> None:
    config = OperatorConfig(kubernetes_api=KubernetesApi(qps=7, burst=9))
    running = asyncio.create_task(main._main(config, free_port()))
    await watching.started.wait()
    watching.options["stop_flag"].set()
    await running
    pace: Pace = cluster.pace  # type: ignore[attr-defined]
    assert (pace.qps, pace.burst) == (7, 9)


async def test_all_that_is_decided_by_time_is_decided_by_the_api_servers(
    cluster: Cluster, watching: Kopf, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks: list[Callable[[], datetime]] = []

    def noting(kind: Callable[..., Any], place: int) -> Callable[..., Any]:
        def made(*arguments: Any, **named: Any) -> Any:
            clocks.append(arguments[place])
            return kind(*arguments, **named)

        return made

    monkeypatch.setattr(main, "Reconciler", noting(main.Reconciler, 4))
    monkeypatch.setattr(main, "PoolReconciler", noting(main.PoolReconciler, 3))
    monkeypatch.setattr(main, "HostClocks", noting(main.HostClocks, 0))
    running = asyncio.create_task(main._main(OperatorConfig(), free_port()))
    await asyncio.wait(
        {running, started := asyncio.create_task(watching.started.wait())}, return_when="FIRST_COMPLETED"
    )
    assert started.done(), running.exception()
    watching.options["stop_flag"].set()
    await running
    cluster.now = NOW + timedelta(days=1)
    assert [clock() for clock in clocks] == [cluster.now.timestamp(), cluster.now, cluster.now]


async def test_a_part_that_dies_ends_the_operator_badly(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(main.kopf, "operator", Kopf(ZeroDivisionError("bug")))
    assert await main._main(OperatorConfig(), free_port()) == 1
    assert [r.__dict__["fields"]["part"] for r in caplog.records if "died" in r.message] == ["watches"]
    assert cluster.closed


async def test_a_port_that_is_taken_is_said(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert await main._main(OperatorConfig(), port) == 2
    assert f"cannot listen on port {port}" in capsys.readouterr().err


@pytest.mark.usefixtures("no_pauses")
async def test_the_operator_waits_for_its_kinds(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    cluster.troubles = [NotFound(404, "no kind"), Transient(0, "no answer"), NotFound(404, "no kind")]
    await main._await_crds(cluster, OperatorConfig(), asyncio.Event())  # type: ignore[arg-type]
    told = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert [("CRD" in text, "API server" in text) for text in told] == [(True, False), (False, True), (True, False)]
    assert {request.plural for request in cluster.requests} == {"agentpools", "agentsessions", "agenttemplates"}


@pytest.mark.usefixtures("no_pauses")
async def test_nobody_works_before_it_is_known_who_has_a_pod(cluster: Cluster) -> None:
    cluster.add(SESSIONS, make_session().with_status(host=Host(pod="p")).json())
    cluster.troubles = [Transient(0, "no answer")]
    worked = asyncio.Event()

    async def work(key: tuple[str, str]) -> None:
        assert admission.turn(make_session("other").build(), Need("q", 0), NOW) is not None
        worked.set()

    queue, admission = SessionQueue(work, 1), Admission(Rules(waking=1))
    queue.add(("team-a", "other"))
    running = asyncio.create_task(main._run_workers(queue, admission, cluster, []))  # type: ignore[arg-type]
    await asyncio.wait_for(worked.wait(), 5)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_an_operator_that_is_told_to_stop_waits_no_longer(cluster: Cluster) -> None:
    cluster.troubles = [NotFound(404, "no kind")] * 3
    stop = asyncio.Event()
    waiting = asyncio.create_task(main._await_crds(cluster, OperatorConfig(), stop))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    stop.set()
    await waiting
    assert len(cluster.troubles) == 2


async def test_a_chore_survives_an_api_server_that_does_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    outcomes: list[BaseException | None] = [Transient(503, "down"), None, ZeroDivisionError("bug")]

    async def work() -> None:
        if outcome := outcomes.pop(0):
            raise outcome

    with pytest.raises(ZeroDivisionError):
        await main._chore(0, work)
    assert [r.__dict__["fields"]["error"] for r in caplog.records if r.message == "chore put off"] == ["503 down"]


async def test_an_answer_to_the_audit_makes_the_operator_ready(cluster: Cluster) -> None:
    health = Health(alive=lambda: True)
    cluster.troubles = [Transient(0, "no answer")]
    auditor = Auditor(cluster, [])  # type: ignore[arg-type]
    with pytest.raises(Transient):
        await main._audit(auditor, health)
    assert not health.ready
    await main._audit(auditor, health)
    assert health.ready


def test_the_command_line_runs_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []
    monkeypatch.setattr(main, "run_operator", lambda path, port: asked.append((str(path), port)) or 7)
    assert command_line.main(["run", "--config", "c.yaml"]) == 7
    assert command_line.main(["run", "--config", "c.yaml", "--port", "9"]) == 7
    assert asked == [("c.yaml", 8080), ("c.yaml", 9)]


@pytest.mark.parametrize("arguments", [[], ["run"], ["crds"], ["fly"], ["run", "--config", "c", "--port", "x"]])
def test_a_command_line_that_makes_no_sense_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        command_line.main(arguments)
    assert caught.value.code == 2
    assert "usage: agentsessions" in capsys.readouterr().err


def test_the_exit_code_is_that_of_the_operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    async def run(config: OperatorConfig, port: int) -> int:
        asked.append((config.log_level, port))
        return 1

    (tmp_path / "c.yaml").write_text("logLevel: warning")
    monkeypatch.setattr(main, "_main", run)
    monkeypatch.setattr(main.logs, "configure", lambda level: asked.append((level, 0)))
    assert main.run_operator(tmp_path / "c.yaml", 9) == 1
    assert asked == [("warning", 0), ("warning", 9)]
    assert metrics.build_info.labels(version("agentsessions"))._value.get() == 1


def test_the_pages_that_are_made_speak_of_every_field_and_metric(tmp_path: Path) -> None:
    assert command_line.main(["docs", "--out", str(tmp_path / "new")]) == 0
    api, measured = ((tmp_path / "new" / name).read_text() for name in ("api.md", "metrics.md"))
    aliases = [field.alias for field in AgentSessionSpec.model_fields.values()]
    assert [alias for alias in aliases if f"`{alias}`" not in api] == []
    assert [family.name for family in metrics.REGISTRY.collect() if family.name not in measured] == []
