"""The generated CRDs: no drift from the models, and the form that Kubernetes and good manners ask for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from agentsessions.__main__ import main
from agentsessions.api.base import Json
from agentsessions.api.crd import all_crds, pool_crd, session_crd, template_crd
from agentsessions.policies.resolve import _WHOLE as WHOLE
from agentsessions.policies.resolve import merge

CRDS = Path(__file__).parents[3] / "crds"
SCHEMA_KEYS_OF_KUBERNETES = {
    "type", "format", "description", "default", "enum", "properties", "required", "items", "additionalProperties",
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "pattern", "minItems",
    "maxItems", "minProperties", "maxProperties", "x-kubernetes-validations", "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys", "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields",
}  # fmt: skip


def schema_of(crd: Json) -> Json:
    """Return the schema of the one version."""
    (version,) = crd["spec"]["versions"]
    schema: Json = version["schema"]["openAPIV3Schema"]
    return schema


def walk(schema: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    """Yield every node of a schema with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    if "items" in schema:
        yield from walk(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from walk(schema["additionalProperties"], f"{path}{{}}")


ROOTS = {crd["spec"]["names"]["kind"]: schema_of(crd) for crd in all_crds().values()}
NODES = [(f"{kind}{path}", node) for kind, root in ROOTS.items() for path, node in walk(root)]
SPEC_NODES = [(path, node) for path, node in NODES if path.split(".")[1:2] == ["spec"]]


def no_default(node: Json) -> bool:
    """Return whether silence stays silence."""
    return "default" not in node


def is_part_of_a_whole(path: str) -> bool:
    """Return whether a field is within a block that levels never mix."""
    return not WHOLE.isdisjoint(path.split(".")[:-1])


def offenders(nodes: list[tuple[str, Json]], test: Any) -> list[str]:
    """Return the paths of the nodes that do not pass."""
    return [path for path, node in nodes if not test(node)]


def test_crds_in_the_repository_are_what_the_models_generate(tmp_path: Path) -> None:
    assert main(["crds", "--out", str(tmp_path)]) == 0
    fresh = {file.name: file.read_text() for file in tmp_path.iterdir()}
    kept = {file.name: file.read_text() for file in CRDS.iterdir()}
    assert kept == fresh, "run `make crds`"


def test_generated_files_have_no_yaml_anchors(tmp_path: Path) -> None:
    main(["crds", "--out", str(tmp_path)])
    events = [e for file in tmp_path.iterdir() for e in yaml.parse(file.read_text())]
    assert not [e for e in events if isinstance(e, yaml.AliasEvent)]


def test_walk_sees_deep_into_the_schema() -> None:
    paths = {path for path, _ in NODES}
    assert "AgentSession.spec.modelEndpoint.egress[].podLabels{}" in paths
    assert len(SPEC_NODES) > 100


def test_schemas_use_only_what_a_structural_schema_may_use() -> None:
    assert offenders(NODES, lambda n: set(n) <= SCHEMA_KEYS_OF_KUBERNETES) == []


def test_every_node_has_a_type_unless_it_takes_integers_and_strings() -> None:
    assert offenders(NODES, lambda n: ("type" in n) != ("x-kubernetes-int-or-string" in n)) == []


def test_no_node_has_both_properties_and_map_values() -> None:
    assert offenders(NODES, lambda n: not ("properties" in n and "additionalProperties" in n)) == []


def test_objects_are_described_in_full_or_are_maps_or_said_to_be_free() -> None:
    def told(node: Json) -> bool:
        known = {"properties", "additionalProperties", "x-kubernetes-preserve-unknown-fields"} & set(node)
        return node.get("type") != "object" or bool(known)

    assert offenders(NODES, told) == [f"{kind}.metadata" for kind in ROOTS]


def test_exclusive_bounds_are_flags_beside_a_bound() -> None:
    assert offenders(NODES, lambda n: isinstance(n.get("exclusiveMinimum", True), bool)) == []


def test_every_list_says_how_it_merges_and_how_long_it_may_be() -> None:
    lists = [(path, node) for path, node in NODES if node.get("type") == "array"]
    assert len(lists) > 10
    assert offenders(lists, lambda n: n.get("x-kubernetes-list-type") in ("atomic", "set", "map")) == []
    assert offenders(lists, lambda n: "maxItems" in n) == []


def test_keyed_lists_require_their_keys() -> None:
    keyed = [(path, node) for path, node in NODES if node.get("x-kubernetes-list-type") == "map"]
    assert keyed
    assert offenders(keyed, lambda n: set(n["x-kubernetes-list-map-keys"]) <= set(n["items"]["required"])) == []


def test_every_string_and_map_in_spec_is_bounded() -> None:
    """CEL refuses a CRD whose rules could cost too much, and what has no bound costs too much."""
    strings = [(path, node) for path, node in SPEC_NODES if node.get("type") == "string"]
    maps = [(path, node) for path, node in SPEC_NODES if isinstance(node.get("additionalProperties"), dict)]
    assert offenders(strings, lambda n: "maxLength" in n or "enum" in n) == []
    assert offenders(maps, lambda n: "maxProperties" in n) == []


def test_every_integer_in_spec_is_bounded_on_both_sides() -> None:
    numbers = [(path, node) for path, node in SPEC_NODES if node.get("type") == "integer"]
    assert offenders(numbers, lambda n: {"minimum", "maximum", "format"} <= set(n)) == []


def test_every_field_has_a_description_for_kubectl_explain() -> None:
    described = [(p, n) for p, n in NODES if not p.endswith(("[]", "{}", ".apiVersion", ".kind", ".metadata"))]
    assert offenders(described, lambda n: len(n.get("description", "")) >= 10) == []


def test_no_description_speaks_of_python() -> None:
    assert offenders(NODES, lambda n: "pydantic" not in n.get("description", "").lower()) == []


def test_template_fields_have_no_defaults_so_that_silence_asks_the_next_level() -> None:
    nodes = list(walk(schema_of(template_crd())["properties"]["spec"]))
    assert offenders([(path, node) for path, node in nodes if not is_part_of_a_whole(path)], no_default) == []


def test_only_in_a_block_that_is_one_value_may_fields_have_defaults() -> None:
    """Such a block is taken from one level as it is: what it leaves out is asked of no other."""
    nodes = list(walk(schema_of(template_crd())["properties"]["spec"]))
    assert {path: node["default"] for path, node in nodes if not no_default(node)} == {
        ".sessionStore.prefix": "agentsessions",
        ".sessionStore.onDelete": "Retain",
        ".sessionStore.s3.region": "us-east-1",
        ".workspace.archive.prefix": "agentsessions",
        ".workspace.archive.maxSize": "1Gi",
        ".workspace.archive.s3.region": "us-east-1",
    }
    lower = {"sessionStore": {"type": "S3", "prefix": "low", "s3": {"bucket": "low", "region": "low"}}}
    upper = {"sessionStore": {"type": "Redis"}, "workspace": {"archive": {"prefix": "up"}}}
    assert merge(lower, upper) == upper
    assert merge({"workspace": {"archive": {"maxSize": "2Gi"}, "storage": "1Gi"}}, upper)["workspace"] == {
        "archive": {"prefix": "up"},
        "storage": "1Gi",
    }


def test_a_session_inherits_every_field_of_a_template() -> None:
    template = schema_of(template_crd())["properties"]["spec"]["properties"]
    session = schema_of(session_crd())["properties"]["spec"]["properties"]
    assert {name: session[name] for name in template} == template


def test_defaults_of_a_session() -> None:
    fields = schema_of(session_crd())["properties"]["spec"]["properties"]
    defaults = {name: field["default"] for name, field in fields.items() if "default" in field}
    assert defaults == {
        "onMissingTranscript": "Fail",
        "onInterruptedTurn": "Report",
        "restartPolicy": "OnFailure",
        "backoffLimit": 3,
        "podRetentionPolicy": "Delete",
    }


def test_status_is_a_subresource_and_conditions_come_first() -> None:
    version = session_crd()["spec"]["versions"][0]
    assert version["subresources"] == {"status": {}}
    assert next(iter(schema_of(session_crd())["properties"]["status"]["properties"])) == "conditions"


def test_a_pool_is_scaled_like_a_deployment() -> None:
    subresources = pool_crd()["spec"]["versions"][0]["subresources"]
    known = {path.removeprefix("AgentPool") for path, _ in NODES}
    assert set(subresources) == {"status", "scale"}
    assert set(subresources["scale"].values()) <= known


@pytest.mark.parametrize(
    ("kind", "short"), [("AgentSession", "asess"), ("AgentTemplate", "atpl"), ("AgentPool", "apool")]
)
def test_names_that_people_type(kind: str, short: str) -> None:
    (names,) = [c["spec"]["names"] for c in all_crds().values() if c["spec"]["names"]["kind"] == kind]
    assert (names["shortNames"], names["categories"]) == ([short], ["agents"])
    assert (names["singular"], names["plural"], names["listKind"]) == (kind.lower(), f"{kind.lower()}s", f"{kind}List")


def test_printer_columns_point_at_fields_that_exist() -> None:
    known = {path.split(".", 1)[1] for path, _ in NODES if "." in path} | {"metadata.creationTimestamp"}
    for crd in all_crds().values():
        for column in crd["spec"]["versions"][0]["additionalPrinterColumns"]:
            path = column["jsonPath"].removeprefix(".").replace('[?(@.type=="Ready")]', "[]")
            assert path in known, column


def test_selectable_fields_exist() -> None:
    known = {path.removeprefix("AgentSession") for path, _ in NODES}
    fields = [field["jsonPath"] for field in session_crd()["spec"]["versions"][0]["selectableFields"]]
    assert fields
    assert set(fields) <= known


def test_every_cel_rule_has_a_message_that_says_must() -> None:
    rules = [rule for _, node in NODES for rule in node.get("x-kubernetes-validations", [])]
    assert len(rules) > 10
    assert [r for r in rules if "must" not in r.get("message", "")] == []


@pytest.mark.parametrize("field", ["prompt", "promptSecretRef", "templateRef", "poolRef", "sessionStore", "forkFrom"])
def test_immutable_fields_can_neither_change_nor_go_nor_come(field: str) -> None:
    rules = [r["rule"] for r in schema_of(session_crd())["properties"]["spec"]["x-kubernetes-validations"]]
    (rule,) = [r for r in rules if f"has(oldSelf.{field})" in r]
    assert f"has(self.{field}) == has(oldSelf.{field})" in rule
    assert f"self.{field} == oldSelf.{field}" in rule
