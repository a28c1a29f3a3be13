"""Why a host's container ended that the kubelet starts again where it was; pure."""

from collections.abc import Sequence
from datetime import timedelta

from agentsessions.api.conditions import Reason
from agentsessions.api.host import EXIT_CLI
from agentsessions.policies.facts import Ended
from agentsessions.policies.outcome import Verdict
from agentsessions.policies.startup import PodWarning

_SLACK = timedelta(seconds=10)
"""How far an event and a container's end, told by the same kubelet, may be apart at most."""


def judge_end(pod: str, ended: Ended, killings: Sequence[PodWarning]) -> Verdict:
    """Return how the container ended; `killings` are the kubelet's events that say why it stops containers of the pod.

    A container that fails a probe is told to stop like any other: its exit code says nothing of that, the event does.
    """
    return _by_probe(pod, ended, killings) or _by_memory(ended) or _by_node(pod, ended) or _by_exit(pod, ended)


def _by_probe(pod: str, ended: Ended, killings: Sequence[PodWarning]) -> Verdict | None:
    """The kubelet's own word: "Container agent failed liveness probe, will be restarted"."""
    said = [one.message for one in killings if "failed" in one.message and "probe" in one.message and _fits(one, ended)]
    if not said:
        return None
    kind = "startup" if "startup" in said[-1] else "liveness"
    text = (
        f"The host in pod '{pod}' did not answer its {kind} probe, and the node ended it (exit code {ended.exit_code})."
    )
    return Verdict(False, Reason.PROBE_FAILED, text, retryable=True)


def _fits(killing: PodWarning, ended: Ended) -> bool:
    """Return whether an event is about the life of the container that ended so."""
    if killing.time is None or ended.started_at is None or ended.finished_at is None:
        return False
    return ended.started_at <= killing.time <= ended.finished_at + _SLACK


def _by_memory(ended: Ended) -> Verdict | None:
    if ended.reason != "OOMKilled":
        return None
    text = "The host was killed: it and its agents used more than the memory limit (`resources.memory`)."
    return Verdict(False, Reason.OOM_KILLED, text, retryable=True)


def _by_node(pod: str, ended: Ended) -> Verdict | None:
    """The node cannot run the container, or does not know what became of it since it was itself started anew."""
    if ended.reason in ("StartError", "ContainerCannotRun"):
        text = f"The container cannot be started: {ended.message}"
        return Verdict(False, Reason.START_FAILED, text, retryable=True)
    if ended.reason not in ("ContainerStatusUnknown", "Unknown"):
        return None
    text = f"The node of pod '{pod}' was started anew, or lost track of the container."
    return Verdict(False, Reason.POD_STOPPED, text, retryable=True, counts=False)


def _by_exit(pod: str, ended: Ended) -> Verdict:
    text = f"The host in pod '{pod}' ended with exit code {ended.exit_code}{_meaning(ended.exit_code)}."
    return Verdict(False, Reason.HOST_CRASHED, text, retryable=True)


def _meaning(code: int) -> str:
    """Return what a code of the host's own means, or the signal that a frequent one above 128 stands for."""
    signals = {137: " (SIGKILL)", 143: " (SIGTERM)", 139: " (SIGSEGV)"}
    return ": the `claude` CLI of its image does not start" if code == EXIT_CLI else signals.get(code, "")
