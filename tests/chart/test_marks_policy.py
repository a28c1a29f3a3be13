"""Of a pod the operator may change the marks of `disruption` and nothing else: the policy's own words, judged here."""

import copy
from typing import Any

import pytest
from cel_expr_python import cel
from cel_expr_python.ext import ext_optional

from chart import helm

NAME = f"{helm.RELEASE}-agentsessions.{helm.NAMESPACE}.marks"
ACCOUNT = f"system:serviceaccount:{helm.NAMESPACE}:{helm.RELEASE}-agentsessions"
OURS = "app.kubernetes.io/managed-by"
MARK = "agentsessions.dev/disruption"
SAFE = "cluster-autoscaler.kubernetes.io/safe-to-evict"
KARPENTER = "karpenter.sh/do-not-disrupt"
Json = dict[str, Any]


def pod(labels: Json | None = None, annotations: Json | None = None, **metadata: object) -> Json:
    """Return a pod of the operator's with further labels and annotations; None takes one away."""
    there = {OURS: "agentsessions", MARK: "Never"} | (labels or {})
    meta = {
        "name": "nap-1",
        "labels": {name: value for name, value in there.items() if value is not None},
        "annotations": {"other": "x", SAFE: "false", KARPENTER: "true"} | (annotations or {}),
    }
    return {"metadata": meta | metadata, "spec": {"containers": [{"name": "agent", "image": "one"}]}}


CHANGED = pod({MARK: "Safe"}, {SAFE: "true"})
del CHANGED["metadata"]["annotations"][KARPENTER]
BARE = {"metadata": {"name": "nap-1"}, "spec": {}}
ALLOWED = [pod(), CHANGED, pod({MARK: None})]
REFUSED = [
    pod() | {"spec": {"containers": [{"name": "agent", "image": "other"}]}},
    pod({OURS: "somebody"}),
    pod({OURS: None}),
    pod({"app": "web"}),
    pod(annotations={"other": "y"}),
    pod(annotations={"new": "y"}),
    pod(ownerReferences=[{"uid": "u"}]),
    pod(finalizers=["example.com/x"]),
    BARE,
]


@pytest.fixture(scope="module")
def spec() -> Json:
    """Return the policy's spec."""
    found: Json = helm.named(helm.template(), "ValidatingAdmissionPolicy", NAME)["spec"]
    return found


def passes(spec: Json, before: Json, after: Json) -> bool:
    """Return whether all that the policy asks for holds of a change."""
    known: Json = {"object": after, "oldObject": before}
    variables = {one["name"]: evaluated(one["expression"], known) for one in spec["variables"]}
    return all(evaluated(one["expression"], known | {"variables": variables}) for one in spec["validations"])


def evaluated(expression: str, known: Json) -> Any:
    """Return what an expression comes to."""
    env = cel.NewEnv(variables=dict.fromkeys(known, cel.Type.DYN), extensions=[ext_optional.ExtOptional()])
    return env.compile(expression).eval(data=copy.deepcopy(known)).plain_value()


@pytest.mark.parametrize("after", ALLOWED)
def test_the_marks_may_change(spec: Json, after: Json) -> None:
    assert passes(spec, pod(), after)


@pytest.mark.parametrize("after", REFUSED)
def test_nothing_else_may(spec: Json, after: Json) -> None:
    assert not passes(spec, pod(), after)


@pytest.mark.parametrize("before", [pod({OURS: None}), BARE])
def test_pods_of_others_are_not_touched(spec: Json, before: Json) -> None:
    assert not passes(spec, before, before)


def test_it_judges_what_the_operators_account_does_to_pods(spec: Json) -> None:
    (rule,) = spec["matchConstraints"]["resourceRules"]
    assert (rule["operations"], rule["resources"]) == (["UPDATE"], ["pods"])
    assert spec["failurePolicy"] == "Fail"
    (condition,) = spec["matchConditions"]
    assert condition["expression"] == f"request.userInfo.username == '{ACCOUNT}'"
    binding = helm.named(helm.template(), "ValidatingAdmissionPolicyBinding", NAME)["spec"]
    assert binding == {"policyName": NAME, "validationActions": ["Deny", "Audit"]}
