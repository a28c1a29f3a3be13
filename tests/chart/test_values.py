"""Values are documented, described by the schema, and refused with a clear word where they are wrong."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from chart import helm
from chart.template_schema import SCHEMA_FILE, template_schema, updated

SCHEMA: dict[str, Any] = json.loads(SCHEMA_FILE.read_text())
VALUES_FILE = helm.CHART / "values.yaml"
REFUSED = [
    ({"bogus": 1}, "additional properties 'bogus' not allowed"),
    ({"image": {"repo": "x"}}, "at '/image': additional properties 'repo' not allowed"),
    ({"image": {"digest": "latest"}}, "at '/image/digest'"),
    ({"logLevel": "loud"}, "at '/logLevel': value must be one of 'debug', 'info', 'warning', 'error'"),
    ({"concurrency": 0}, "at '/concurrency': minimum: got 0, want 1"),
    ({"kubernetesApi": {"qps": 0}}, "at '/kubernetesApi/qps': minimum: got 0, want 1"),
    ({"watchNamespaces": "team-a"}, "at '/watchNamespaces': got string, want array"),
    ({"watchNamespaces": ["Team_A"]}, "at '/watchNamespaces/0'"),
    ({"admission": {"waking": -1}}, "at '/admission/waking': minimum: got -1, want 0"),
    ({"admission": {"running": 5}}, "at '/admission': additional properties 'running' not allowed"),
    (
        {"admission": {"namespaces": {"team-a": {"total": 5}}}},
        "at '/admission/namespaces/team-a': additional properties",
    ),
    ({"admission": {"namespaces": {"Team_A": {"running": 5}}}}, "invalid propertyName 'Team_A'"),
    (
        {"admission": {"perNamespace": {"running": "50"}}},
        "at '/admission/perNamespace/running': got string, want integer",
    ),
    ({"admission": {"tenantLabel": "a label"}}, "at '/admission/tenantLabel'"),
    ({"admission": {"tenantLabel": "t", "tenants": {"acme": {"total": 1}}}}, "at '/admission/tenants/acme'"),
    ({"admission": {"tenants": {"acme": {"running": 5}}}}, "admission.tenants needs admission.tenantLabel"),
    ({"metrics": {"prometheusRule": {"longQueueSeconds": 0}}}, "at '/metrics/prometheusRule/longQueueSeconds'"),
    ({"rollout": {"maxUnavailable": 0}}, "at '/rollout/maxUnavailable': minimum: got 0, want 1"),
    ({"rollout": {"onFailure": "Pause"}}, "at '/rollout': additional properties 'onFailure' not allowed"),
    ({"crds": {"keep": "yes"}}, "at '/crds/keep': got string, want boolean"),
    ({"egress": {"replicas": 0}}, "at '/egress/replicas': minimum: got 0, want 1"),
    ({"egress": {"upstream": {"host": "https://api.example.com"}}}, "at '/egress/upstream/host'"),
    ({"egress": {"upstream": {"port": 70000}}}, "at '/egress/upstream/port'"),
    ({"egress": {"credential": {"value": "sk-1"}}}, "at '/egress/credential': additional properties 'value'"),
    ({"egress": {"allowedPaths": ["v1/messages"]}}, "at '/egress/allowedPaths/0'"),
    ({"defaults": {"cpu": 1}}, "at '/defaults': additional properties 'cpu' not allowed"),
    ({"defaults": {"resources": {"memory": "-1Gi"}}}, "at '/defaults/resources/memory'"),
    ({"defaults": {"resources": {"memory": "1 GB"}}}, "at '/defaults/resources/memory'"),
    ({"defaults": {"agent": {"maxTurns": 0}}}, "at '/defaults/agent/maxTurns': minimum: got 0, want 1"),
    ({"defaults": {"agent": {"maxTurns": "20"}}}, "at '/defaults/agent/maxTurns': got string, want integer"),
    ({"defaults": {"agent": {"permissionMode": "yolo"}}}, "at '/defaults/agent/permissionMode': value must be one of"),
    ({"defaults": {"contentLogging": True}}, "at '/defaults/contentLogging'"),
    ({"defaults": {"modelEndpoint": {"baseUrl": "model"}}}, "at '/defaults/modelEndpoint/baseUrl'"),
    ({"defaults": {"networkPolicy": {"egress": [{"cidr": "10.0.0.0/8"}]}}}, "missing property 'port'"),
    ({"gateway": {"host": "x"}}, "at '/gateway': additional properties 'host' not allowed"),
    ({"gateway": {"replicas": 0}}, "at '/gateway/replicas': minimum: got 0, want 1"),
    ({"gateway": {"url": "agents.example.com"}}, "at '/gateway/url'"),
    ({"gateway": {"reviewCacheSeconds": 31}}, "at '/gateway/reviewCacheSeconds': maximum: got 31, want 30"),
    ({"gateway": {"holdSeconds": -1}}, "at '/gateway/holdSeconds': minimum: got -1, want 0"),
    ({"gateway": {"audiences": [""]}}, "at '/gateway/audiences/0'"),
    ({"gateway": {"directory": {"port": 80}}}, "at '/gateway/directory/port': minimum: got 80, want 1,024"),
    ({"gateway": {"directory": {"port": 8081}}}, "at '/gateway/directory/port': 'not' failed"),
    ({"gateway": {"oidc": {"clientSecret": "s"}}}, "at '/gateway/oidc': additional properties 'clientSecret'"),
    ({"gateway": {"oidc": {"jwksUri": "id.example.com"}}}, "at '/gateway/oidc/jwksUri'"),
    ({"gateway": {"cookbook": {"hosts": [{"host": "a"}]}}}, "missing properties 'namespace', 'pool'"),
    ({"gateway": {"cookbook": {"namespace": "Team_A"}}}, "at '/gateway/cookbook/namespace'"),
    (
        {"gateway": {"cookbook": {"hosts": [{"host": "a", "namespace": "b", "pool": "C_1"}]}}},
        "at '/gateway/cookbook/hosts/0/pool'",
    ),
    ({"gateway": {"service": {"type": "ExternalName"}}}, "at '/gateway/service/type': value must be one of"),
    ({"gateway": {"tls": {"crt": "x"}}}, "at '/gateway/tls': additional properties 'crt' not allowed"),
    ({"networkPolicy": {"apiServer": {"ports": []}}}, "at '/networkPolicy/apiServer/ports'"),
    ({"metrics": {"prometheusRule": {"slowWakeSeconds": 0}}}, "at '/metrics/prometheusRule/slowWakeSeconds': minimum"),
    ({"embeddedStore": {"password": "p"}}, "at '/embeddedStore': additional properties 'password' not allowed"),
    ({"embeddedStore": {"existingSecret": "My_Secret"}}, "at '/embeddedStore/existingSecret'"),
    ({"embeddedStore": {"storage": "1 GB"}}, "at '/embeddedStore/storage'"),
    ({"embeddedStore": {"maxMemory": "256Mi; id"}}, "at '/embeddedStore/maxMemory'"),
]


@pytest.mark.parametrize(("values", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_wrong_values_are_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(helm.HelmError) as refused:
        helm.template(values)
    assert message in str(refused.value)


def test_the_schema_of_defaults_is_that_of_the_operators_model() -> None:
    assert updated(SCHEMA) == SCHEMA, "run `make crds`"


def test_every_field_of_the_model_can_be_a_default() -> None:
    values = {"defaults": example(template_schema())}
    rendered = helm.named(helm.template(values), "ConfigMap", f"{helm.RELEASE}-agentsessions")
    document = yaml.safe_load(rendered["data"]["config.yaml"])
    assert set(document["defaults"]) == set(template_schema()["properties"])


def test_every_value_has_a_comment_that_starts_with_its_key() -> None:
    lines = VALUES_FILE.read_text().splitlines()
    for path, line in key_lines(yaml.compose(VALUES_FILE.read_text())):
        if free_form(path[:-1]):
            continue
        assert comment_above(lines, line).startswith(f"# {path[-1]} "), f"values.yaml, {'.'.join(path)}"


def test_every_value_is_in_the_schema_and_the_other_way_round() -> None:
    values = yaml.safe_load(VALUES_FILE.read_text())
    assert set(values) == set(SCHEMA["properties"]) - {"global"}
    for path in schema_paths(SCHEMA, ()):
        if path[0] not in {"defaults", "global", "crds"}:
            assert found(values, path), f"{'.'.join(path)} is in the schema and not in values.yaml"


def example(node: dict[str, Any]) -> Any:
    """Return the smallest value that fits a schema, with every property set."""
    if "enum" in node:
        return node["enum"][0]
    kind = node["type"] if isinstance(node["type"], str) else "integer"
    if kind == "object":
        return {name: example(child) for name, child in node.get("properties", {}).items()}
    if kind == "array":
        return [example(node["items"])]
    if kind == "string":
        return next(text for text in ("a", "aaa", "a:a", "10.0.0.0/8", "http://a") if fits(node, text))
    return node.get("minimum", 1) if kind == "integer" else True


def fits(node: dict[str, Any], text: str) -> bool:
    """Return whether a string fits its pattern and its least length."""
    return len(text) >= node.get("minLength", 0) and re.search(node.get("pattern", ""), text) is not None


def key_lines(node: yaml.Node | None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield every key of the file as (path, line)."""
    if isinstance(node, yaml.MappingNode):
        for name, child in node.value:
            yield (*path, name.value), name.start_mark.line
            yield from key_lines(child, (*path, name.value))


def comment_above(lines: list[str], line: int) -> str:
    """Return the first line of the comment block above a line."""
    start = line
    while start > 0 and lines[start - 1].lstrip().startswith("#"):
        start -= 1
    return lines[start].strip() if start < line else ""


def node_at(path: tuple[str, ...]) -> dict[str, Any]:
    """Return the schema of a value."""
    node = SCHEMA
    for name in path:
        node = resolved(node.get("properties", {}).get(name, {}))
    return node


def free_form(path: tuple[str, ...]) -> bool:
    """Return whether the keys under a value are the user's own, or Kubernetes' (as in `resources`)."""
    return "properties" not in node_at(path) or SCHEMA["definitions"]["resources"] == node_at(path)


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference into the definitions."""
    if "$ref" not in node:
        return node
    definition: dict[str, Any] = SCHEMA["definitions"][node["$ref"].rsplit("/", 1)[-1]]
    return definition


def schema_paths(node: dict[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the path of every property that the schema names."""
    for name, child in resolved(node).get("properties", {}).items():
        yield (*path, name)
        yield from schema_paths(child, (*path, name))


def found(values: Any, path: tuple[str, ...]) -> bool:
    """Return whether a path exists in the values."""
    for name in path:
        if not isinstance(values, dict) or name not in values:
            return False
        values = values[name]
    return True
