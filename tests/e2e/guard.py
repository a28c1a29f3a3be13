"""What must hold in every test: the operator lived, was forbidden nothing, met no error of its own, told no secret."""

import json
from collections.abc import Iterable, Sequence

from e2e import audit
from e2e.access import may
from e2e.api import EVENTS, Api, Json
from e2e.manifests import CANARY
from e2e.operator_pod import USER_NAME, Operator, Sample

_KEY = "sk-ant-"
_RECEIVED = "requestReceivedTimestamp"
_ENDING = "because it is being terminated"
"""How the API server refuses new objects in a namespace that is being deleted; no matter of permissions."""


def check_log(log: str, dawns: Sequence[tuple[str, str]] = ()) -> None:
    """Fail if a log shows a prompt, a key, an exception of the operator's own, or a refused watch."""
    assert CANARY not in log, "the operator's log shows a prompt"
    assert _KEY not in log, "the operator's log shows a key"
    for line in log.splitlines():
        entry = json.loads(line)
        assert "exception" not in entry, f"the operator met an error of its own: {line}"
        excused = _ENDING in line or any(start <= entry["time"] <= end for start, end in dawns)
        assert "orbidden" not in line or excused, f"something was forbidden: {line}"


def check_refusals(api: Api, refusals: Iterable[Sample]) -> None:
    """Fail for requests that RBAC forbids.

    A 403 to a POST may also be a quota's or an ending namespace's answer, so there RBAC itself is asked.
    """
    for sample in refusals:
        resource = sample.labels["resource"]
        allowed = sample.labels["verb"] == "POST" and may(api, USER_NAME, "create", resource)
        assert allowed, f"the operator was refused: {sample.labels['verb']} {resource} {sample.labels['code']}"


def check_events(api: Api, namespace: str) -> None:
    """Fail if an event shows a prompt."""
    for event in api.list(EVENTS, namespace):
        assert CANARY not in json.dumps(event), f"an event shows a prompt: {event['reason']}"


def check_audit(entries: list[Json], dawns: Sequence[tuple[str, str]] = ()) -> None:
    """Fail for writes that RBAC forbade, by the API server's own record."""
    by_day = [one for one in entries if not any(start <= one[_RECEIVED] <= end for start, end in dawns)]
    forbidden = [audit.describe(entry) for entry in audit.denied(by_day)]
    assert not forbidden, f"the operator was forbidden: {forbidden}"


def check_operator(operator: Operator, api: Api) -> None:
    """Fail for anything that the running operator, or one that a test has ended, should not have met."""
    for log in [*operator.kept_logs, operator.log()]:
        check_log(log, operator.dawns)
    check_refusals(api, [*operator.kept_refusals, *operator.refusals()])
    operator.kept_logs.clear()
    operator.kept_refusals.clear()
