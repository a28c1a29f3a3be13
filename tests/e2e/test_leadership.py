"""Two operators: one leads, the other follows when it dies, is told to stop, or is frozen, and no session notices."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import pytest

import cluster
from e2e.api import LEASES, PODS, Json
from e2e.audit import AuditLog
from e2e.killing import kill_process
from e2e.lab import Lab, Labs
from e2e.leadership import check_turns, holder, started_during, two_replicas, writer
from e2e.manifests import say
from e2e.operator_pod import NAMESPACE, RELEASE, is_ready
from e2e.terminal import CommandFailed
from e2e.waiting import eventually, wait_for


@dataclass(frozen=True)
class Pair:
    """Two replicas, and a namespace with sessions."""

    lab: Lab
    provider: cluster.Provider
    alone: str
    begun: list[str]
    writes: list[Json]

    def lease(self) -> Json:
        """Return the Lease's spec."""
        found = self.lab.api.get(LEASES, NAMESPACE, RELEASE)
        assert found is not None
        spec: Json = found["spec"]
        return spec

    def leader(self) -> str:
        """Return the pod that has the Lease; nothing while nobody has."""
        return holder({"spec": self.lease()})

    def pod(self, name: str) -> Json:
        """Return a replica's pod."""
        found = self.lab.api.get(PODS, NAMESPACE, name)
        assert found is not None
        return found

    def leading(self) -> dict[str, float]:
        """Return what each replica says of itself: 1 if it leads."""
        operator = self.lab.operator
        names = [pod["metadata"]["name"] for pod in operator.pods()]
        out: dict[str, float] = {}
        for name in names:
            with suppress(CommandFailed):  # one that has lost the lead ends
                (out[name],) = [one.value for one in operator.metrics(name) if one.name == "agentsessions_leader"]
        return out

    def until_followed(self, old: str) -> float:
        """Wait until another identity than `old` leads; return how long that took in seconds."""
        began = time.monotonic()

        def another(lease: Json | None) -> bool:
            return (lease or {}).get("spec", {}).get("holderIdentity") not in (None, "", old)

        wait_for(self.lab.api, LEASES, NAMESPACE, RELEASE, another, "another leader")
        return time.monotonic() - began

    def until_whole(self) -> None:
        """Wait until two replicas are ready."""
        eventually(
            lambda: [is_ready(pod) for pod in self.lab.operator.pods()], lambda all_: all_ == [True, True], "two"
        )


@pytest.fixture(scope="module")
def pair(labs: Labs, provider: cluster.Provider, audit_log: AuditLog | None) -> Iterator[Pair]:
    """The release with two operators; afterwards with one again.

    `alone` is the pod that led before; `begun` are sessions of the time in which one became two, and `writes` what was
    written about them, as far as that can be read.
    """
    with labs(ends_operator=True) as lab, ExitStack() as undo:
        mark, alone = audit_log.mark() if audit_log else 0, str(lab.operator.pod()["metadata"]["name"])
        begun = started_during(lab, lambda: undo.enter_context(two_replicas(lab)))
        for name in begun:
            lab.finished(name)
        found = Pair(lab, provider, alone, begun, audit_log.since(mark, lab.namespace) if audit_log else [])
        found.until_whole()
        yield found


@pytest.mark.requirement("K01", "K02")
def test_one_leads_and_another_stands_by(pair: Pair) -> None:
    def said() -> tuple[dict[str, float], str]:
        return pair.leading(), pair.leader()

    def agree(found: tuple[dict[str, float], str]) -> bool:
        values, leader = found
        return sorted(values.values()) == [0, 1] and values.get(leader) == 1

    eventually(said, agree, "one leader of two, the one that has the Lease")
    assert pair.lab.run("task", steps=(say("done"),))["status"]["result"]["text"] == "done"


@pytest.mark.requirement("K01", "K02")
def test_while_one_became_two_never_did_two_write(pair: Pair, audit_log: AuditLog | None) -> None:
    assert [pair.lab.succeeded(name)["status"]["restarts"] for name in pair.begun] == [0] * len(pair.begun)
    if audit_log:
        check_turns(pair.writes, pair.alone)


@pytest.mark.requirement("K01", "K02")
@pytest.mark.parametrize("end", ["killed", "told to stop", "frozen"])
def test_a_leader_is_followed_and_no_session_is_the_worse_for_it(
    pair: Pair, end: str, audit_log: AuditLog | None
) -> None:
    pair.until_whole()
    lease = eventually(pair.lease, lambda one: bool(one.get("holderIdentity")), "a leader")
    old, before, identity = holder({"spec": lease}), lease["leaseTransitions"], lease["holderIdentity"]
    restarts = _restarts(pair.pod(old))
    name = f"beside-{end.replace(' ', '-')}"
    if end == "told to stop":
        pair.lab.api.delete(PODS, NAMESPACE, old)
    else:
        assert kill_process(pair.provider, pair.pod(old), sign=_SIGNALS[end])
    pair.lab.start(name, steps=(say("done"),))
    print(f"{end}: followed after {pair.until_followed(identity):.1f} s")
    # A process that was killed may be followed by its own pod's next one.
    assert end == "killed" or pair.leader() != old
    mark = audit_log.mark() if audit_log else 0
    if end == "frozen":
        kill_process(pair.provider, pair.pod(old), sign=signal.SIGCONT)
    assert pair.lab.succeeded(name)["status"]["restarts"] == 0
    assert pair.lease()["leaseTransitions"] > before
    if end == "frozen":
        wait_for(pair.lab.api, PODS, NAMESPACE, old, lambda pod: _restarts(pod) > restarts, "its end and new beginning")
        assert _exit_code(pair.pod(old)) == 1
        writes = audit_log.since(mark, pair.lab.namespace) if audit_log else []
        assert old not in {writer(one) for one in writes}, "it wrote after another one led"
    pair.until_whole()
    # A leader that a busy machine kept from renewing is followed in its turn: for moments nobody leads.
    eventually(pair.leading, lambda all_: sorted(all_.values()) == [0, 1], "one leader of two")


_SIGNALS = {"killed": signal.SIGKILL, "frozen": signal.SIGSTOP}


def _restarts(pod: Json | None) -> int:
    return int((pod or {}).get("status", {}).get("containerStatuses", [{}])[0].get("restartCount", 0))


def _exit_code(pod: Json) -> int:
    return int(pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"])
