"""Manifests that nobody would write: the API server refuses them or the operator copes, and never does it break."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from e2e import manifests
from e2e.api import ApiError, condition
from e2e.lab import Lab, Labs

_WORDS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["", "0", "x" * 300, "default", "../../etc", "\u0000", "a\nb", "${HOME}", "$(A)", "ünïcode", "🙂"]),
)
_EDGES = [-1, 0, 1, 2**31 - 1, 2**31, 2**63 - 1]
_NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.sampled_from(_EDGES), st.floats())
_QUANTITIES = st.one_of(
    st.sampled_from(["1", "1Gi", "500m", "0", "-1", "1e3", "0.5", "100E", "1e-9", "9" * 30, "1.5Ki", "+1", "1 Gi"]),
    st.integers(-5, 2**40),
    _WORDS,
)
_ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), _NUMBERS, _WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_WORDS, inner, max_size=3)),
    max_leaves=6,
)


def _mostly(right: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return values that are of the right shape more often than not."""
    return st.one_of(right, right, right, right, _ANYTHING)


def _block(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return objects with some of these fields."""
    return _mostly(st.fixed_dictionaries({}, optional={name: _mostly(value) for name, value in fields.items()}))


_PEER = _block(
    namespace=_WORDS,
    podLabels=st.dictionaries(_WORDS, _WORDS, max_size=3),
    cidr=st.sampled_from(["10.0.0.0/8", "10.0.0.0/99", "::/0", "999.1.1.1/8", "fe80::/10"]),
    port=_NUMBERS,
)
_SPEC = {
    "image": _WORDS,
    "imagePullPolicy": st.sampled_from(["Always", "Never", "Sometimes"]),
    "imagePullSecrets": st.lists(_block(name=_WORDS), max_size=2),
    "agent": _block(model=_WORDS, maxTurns=_NUMBERS, tools=st.lists(_WORDS, max_size=3), outputSchema=_ANYTHING),
    "resources": _block(
        cpu=_QUANTITIES, memory=_QUANTITIES, ephemeralStorage=_QUANTITIES, requests=_block(cpu=_QUANTITIES)
    ),
    "workspace": _block(storage=_QUANTITIES, storageClassName=_WORDS),
    "security": _block(runtimeClassName=_WORDS, hostUsers=st.booleans()),
    "modelEndpoint": _block(baseUrl=_WORDS, egress=st.lists(_PEER, max_size=2)),
    "networkPolicy": _block(egress=st.lists(_PEER, max_size=2)),
    "limits": _block(activeDeadlineSeconds=_NUMBERS, startDeadlineSeconds=_NUMBERS),
    "env": st.lists(_block(name=_WORDS, value=_WORDS), max_size=3),
    "promptEnvironmentVariable": st.sampled_from(["TASK_PROMPT", "HOME", "PATH", "0", "A-B"]),
    "nodeSelector": st.dictionaries(_WORDS, _WORDS, max_size=2),
    "tolerations": st.lists(_block(key=_WORDS, operator=st.sampled_from(["Exists", "Equal", "Maybe"])), max_size=2),
    "priority": _NUMBERS,
    "priorityClassName": _WORDS,
    "terminationGracePeriodSeconds": _NUMBERS,
    "restartPolicy": st.sampled_from(["OnFailure", "Never", "Always"]),
    "backoffLimit": _NUMBERS,
    "ttlSecondsAfterFinished": _NUMBERS,
    "templateRef": _block(name=_WORDS),
}
_SPECS = st.fixed_dictionaries({}, optional={name: _mostly(value) for name, value in _SPEC.items()})
_FEW = st.lists(st.sampled_from(sorted(_SPEC)), max_size=2, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: _mostly(_SPEC[name]) for name in names})
)
"""One or two odd fields: more of these are accepted, and then it is the operator that must cope."""
_NUMBER = itertools.count()


@pytest.fixture(scope="module")
def crowded(labs: Labs) -> Iterator[Lab]:
    """A namespace with a quota of no pods: what is accepted goes all the way to the pod's own validation."""
    with labs() as own:
        own.api.create(manifests.quota(own.namespace, pods=0))
        yield own


_accepted: list[str] = []


@pytest.mark.requirement("K01")
@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(spec=st.one_of(_FEW, _FEW, _SPECS))
def test_the_api_server_takes_or_refuses_it(crowded: Lab, spec: dict[str, Any]) -> None:
    """A refusal is 400 or 422 with a reason, never an error of the server."""
    manifest = manifests.session(crowded.namespace, f"random-{next(_NUMBER)}", prompt="x")
    manifest["spec"] |= spec
    refusal: ApiError | None = None
    try:
        _accepted.append(crowded.api.create(manifest)["metadata"]["name"])
    except ApiError as error:
        refusal = error
    if refusal is not None:
        note(refusal.message)
        assert refusal.code in (400, 422)
        assert refusal.message


@pytest.mark.requirement("K01", "K02")
def test_the_operator_copes_with_what_was_taken(crowded: Lab) -> None:
    """Every one gets a condition with a reason and a message; the operator is alive and has met no error of its own."""
    assert len(_accepted) >= 20, "too few were accepted to prove anything"
    reasons: dict[str, int] = {}
    for name in _accepted:
        found = crowded.until(name, lambda thing: bool(condition(thing, "Ready")), "a Ready condition")
        ready = condition(found, "Ready")
        assert ready["message"], ready
        reasons[ready["reason"]] = reasons.get(ready["reason"], 0) + 1
    print(f"{len(_accepted)} accepted: {reasons}")
    assert set(reasons) <= {"PodRejected", "QuotaExceeded", "TemplateNotFound", "InvalidSpec"}, reasons
    assert crowded.operator.fetch("/healthz") == "ok\n"
    passes = [s for s in crowded.operator.metrics() if s.name == "agentsessions_reconciles_total"]
    assert sum(s.value for s in passes if s.labels["outcome"] == "done") >= len(_accepted)
