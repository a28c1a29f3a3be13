"""The operator is started anew where there are many sessions: it asks for nothing that the world does not ask for."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from e2e import manifests
from e2e.api import SESSIONS, Api, Json
from e2e.audit import AuditLog, describe
from e2e.install import BOUNDED
from e2e.lab import Lab, Labs, gated
from e2e.manifests import bash, say
from e2e.operator_pod import NAMESPACE, Operator, Sample
from e2e.sizes import size
from e2e.waiting import eventually

COUNT = size(300, 10_000)
_HANDS = 8
_STATUS = "import re; print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/1/status').read())[1])"


@dataclass(frozen=True)
class Mould:
    """A session that the operator has brought to its rest, to be made many of."""

    api: Api
    session: Json

    def cast(self, number: int) -> None:
        """Make another one, with the status that the operator would have written."""
        meta, spec = self.session["metadata"], self.session["spec"]
        name = f"{meta['name']}-{number}"
        manifest = {key: self.session[key] for key in ("apiVersion", "kind")}
        made = self.api.create(manifest | {"metadata": {"namespace": meta["namespace"], "name": name}, "spec": spec})
        written = json.dumps(self.session["status"]).replace(meta["uid"], made["metadata"]["uid"])
        status = json.loads(written.replace(f'/{meta["name"]}"', f'/{name}"'))
        path = f"{SESSIONS.path(meta['namespace'], name)}/status"
        self.api.request("PATCH", path, body={"status": status}, kind="application/merge-patch+json")


def _value(samples: list[Sample], name: str, **labels: str) -> float:
    return sum(one.value for one in samples if one.name == name and labels.items() <= one.labels.items())


@contextmanager
def _timed(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - began:.1f} s")


def _is_through(samples: list[Sample]) -> bool:
    """Return whether everything was listed, and looked at."""
    synced = _value(samples, "agentsessions_watch_synced", resource="agentsessions") == 1
    looked = _value(samples, "agentsessions_reconciles_total", outcome="done") >= COUNT
    return synced and looked and _value(samples, "agentsessions_queue_depth") == 0


@pytest.mark.requirement("K01", "K02")
@pytest.mark.ends_operator
@pytest.mark.timeout(300 + COUNT // 5)
def test_a_restart_among_many_sessions_writes_nothing(labs: Labs, api: Api, audit_log: AuditLog | None) -> None:
    """They have finished, well or not, or are asleep, but for two that run and two that wait for the place of these."""
    with labs(name=BOUNDED, ends_operator=True) as lab:
        moulds = [Mould(api, one) for one in _at_rest(lab)]
        gates = [_running(lab, name) for name in ("one", "two")]
        for name in ("next", "last"):
            lab.start(name)
            lab.reason(name, "Queued")
        _restarted(lab, moulds, audit_log)
        for gate in gates:
            lab.open_gate(gate)
        ended = [lab.succeeded(name)["status"] for name in ("one", "two", "next", "last")]
        assert [status["restarts"] for status in ended] == [0] * 4


def _at_rest(lab: Lab) -> list[Json]:
    """Return a session that has succeeded, one that has failed, and one that sleeps."""
    lab.run("done", steps=(say("done"),))
    lab.run("failed", steps=(bash("true"),) * 3, agent={"maxTurns": 1})
    lab.api.apply(manifests.hybrid(lab.namespace, "asleep", sessionStore={"type": "Embedded"}))
    lab.reason("asleep", "Asleep")
    return [lab.session(name) for name in ("done", "failed", "asleep")]


def _running(lab: Lab, name: str) -> str:
    """Start a session that runs until its gate is opened; return its pod."""
    lab.start(name, steps=(gated(), say("done")))
    return lab.at_gate(name)


def _restarted(lab: Lab, moulds: list[Mould], audit_log: AuditLog | None) -> None:
    """Make very many sessions while there is no operator, and fail if it writes about any of them; print the costs."""
    api = lab.api
    with lab.operator.stopped():
        with _timed(f"{COUNT} sessions made"), ThreadPoolExecutor(_HANDS) as hands:
            list(hands.map(lambda number: moulds[number % len(moulds)].cast(number), range(COUNT)))
        before = {one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in lab.sessions()}
        mark = audit_log.mark() if audit_log else 0
    with _timed("from readiness until each was looked at"):
        with _timed("from readiness until one made meanwhile was looked at"):
            api.apply(manifests.hybrid(lab.namespace, "meanwhile", sessionStore={"type": "Embedded"}))
            lab.reason("meanwhile", "Asleep")
        left = _value(lab.operator.metrics(), "agentsessions_queue_depth")
        print(f"{left:.0f} others were still to be looked at then")
        found = eventually(lab.operator.metrics, _is_through, "all sessions looked at", 60 + COUNT // 10)
    _print_cost(lab.operator, found)
    after = {one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in lab.sessions()}
    assert after.keys() - before.keys() == {"meanwhile"}
    assert before.items() <= after.items()
    if audit_log:
        entries = [one for one in audit_log.since(mark, lab.namespace) if one["objectRef"].get("name") != "meanwhile"]
        assert [describe(one) for one in entries] == []
    assert _value(found, "agentsessions_reconciles_total", outcome="error") == 0


def _print_cost(operator: Operator, found: list[Sample]) -> None:
    """Print what the restart took."""
    name = str(operator.pod()["metadata"]["name"])
    peak = int(operator.terminal.execute(NAMESPACE, name, "python", "-c", _STATUS)) // 1024
    requests = "agentsessions_kubernetes_requests_total"
    reads = {verb: int(_value(found, requests, verb=verb)) for verb in ("GET", "POST", "PATCH", "DELETE")}
    print(f"{COUNT} sessions: requests {reads}, memory at most {peak} MiB")
    waited = _value(found, "agentsessions_kubernetes_throttled_seconds_total")
    lag = _value(found, "agentsessions_event_loop_lag_seconds_sum")
    print(f"requests waited {waited:.0f} s in all for their turn; the event loop was {lag:.1f} s late in all")
