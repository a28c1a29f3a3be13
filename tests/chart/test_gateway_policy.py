"""The gateway's account may change `status.lastRequestTime` and nothing else: the policy's own words, judged here."""

import copy
from typing import Any

import pytest
from cel_expr_python import cel
from cel_expr_python.ext import ext_optional

from chart import helm

NAME = f"{helm.RELEASE}-agentsessions.{helm.NAMESPACE}.gateway"
ACCOUNT = f"system:serviceaccount:{helm.NAMESPACE}:{helm.RELEASE}-agentsessions-gateway"
STATUS = {
    "conditions": [{"type": "Ready", "status": "True", "reason": "Asleep"}],
    "host": {"pod": "diary-1", "podUID": "u1"},
    "wakes": 3,
    "answeredRequestTime": "2026-01-02T03:04:05.000001Z",
}
ASKED = {"lastRequestTime": "2026-01-02T03:05:00.000001Z"}
Json = dict[str, Any]
ALLOWED: list[tuple[Json, Json]] = [
    (STATUS, STATUS | ASKED),
    (STATUS | {"lastRequestTime": "2026-01-01T00:00:00Z"}, STATUS | ASKED),
    (STATUS | ASKED, STATUS | ASKED),
    ({}, ASKED),
]
REFUSED: list[tuple[Json, Json]] = [
    (STATUS, STATUS | ASKED | {"wakes": 4}),
    (STATUS, STATUS | ASKED | {"answeredRequestTime": ASKED["lastRequestTime"]}),
    (STATUS, STATUS | {"host": {"pod": "diary-1", "podUID": "u2"}}),
    (STATUS, STATUS | {"host": {"pod": "diary-1"}}),
    (STATUS, STATUS | {"conditions": []}),
    (STATUS, STATUS | {"conditions": [STATUS["conditions"][0] | {"status": "False"}]}),  # type: ignore[index]
    (STATUS, STATUS | {"usage": {"turns": 1}}),
    (STATUS, STATUS | {"oneThatIsNew": True}),
    (STATUS, {name: value for name, value in STATUS.items() if name != "host"} | ASKED),
    (STATUS, {}),
    ({}, {"wakes": 1}),
]


def policy(**values: object) -> Json:
    """Return the policy's spec."""
    found: Json = helm.named(helm.template(values), "ValidatingAdmissionPolicy", NAME)["spec"]
    return found


def body(status: Json) -> Json:
    """Return a session with that status; one that has none has no such field."""
    return {"metadata": {"name": "diary"}, "spec": {"pattern": "Hybrid"}} | ({"status": status} if status else {})


def passes(spec: Json, before: Json, after: Json) -> bool:
    """Return whether all that the policy asks for holds of a change."""
    known: Json = {"object": body(after), "oldObject": body(before)}
    variables = {one["name"]: evaluated(one["expression"], known) for one in spec["variables"]}
    return all(evaluated(one["expression"], known | {"variables": variables}) for one in spec["validations"])


def evaluated(expression: str, known: Json) -> Any:
    """Return what an expression comes to."""
    env = cel.NewEnv(variables=dict.fromkeys(known, cel.Type.DYN), extensions=[ext_optional.ExtOptional()])
    return env.compile(expression).eval(data=copy.deepcopy(known)).plain_value()


@pytest.fixture(scope="module")
def spec() -> Json:
    return policy()


@pytest.mark.parametrize(("before", "after"), ALLOWED)
def test_the_gateway_may_ask_for_a_session(spec: Json, before: Json, after: Json) -> None:
    assert passes(spec, before, after)


@pytest.mark.parametrize(("before", "after"), REFUSED)
def test_the_gateway_may_not_change_anything_else(spec: Json, before: Json, after: Json) -> None:
    assert not passes(spec, before, after)


def test_it_judges_every_write_of_status_by_the_account_that_the_gateway_runs_as(spec: Json) -> None:
    (rule,) = spec["matchConstraints"]["resourceRules"]
    assert (rule["operations"], rule["resources"]) == (["UPDATE"], ["agentsessions/status"])
    assert spec["failurePolicy"] == "Fail"
    (condition,) = spec["matchConditions"]
    assert condition["expression"] == f"request.userInfo.username == '{ACCOUNT}'"
    manifests = helm.template()
    pod = helm.named(manifests, "Deployment", f"{helm.RELEASE}-agentsessions-gateway")["spec"]["template"]["spec"]
    assert ACCOUNT.rpartition(":")[2] == pod["serviceAccountName"]


def test_it_holds_in_every_namespace_also_where_only_some_are_watched() -> None:
    manifests = helm.template({"watchNamespaces": ["team-a"]})
    binding = helm.named(manifests, "ValidatingAdmissionPolicyBinding", NAME)["spec"]
    assert binding == {"policyName": NAME, "validationActions": ["Deny", "Audit"]}
    assert "namespaceSelector" not in policy(watchNamespaces=["team-a"])["matchConstraints"]
