"""How the four levels of settings merge."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import history
from agentsessions.api.base import Json
from agentsessions.api.config import BUILT_IN
from agentsessions.api.session import AgentSessionSpec
from agentsessions.api.template import Limits, TemplateFields
from agentsessions.policies.resolve import Settings, describe, merge, resolve
from unit.make import make_session, make_settings

SCALARS = st.integers(0, 3) | st.sampled_from(["a", "b"]) | st.lists(st.integers(0, 2), max_size=2)
SHAPED = st.fixed_dictionaries(
    {},
    optional={
        "one": SCALARS,
        "two": SCALARS,
        "block": st.fixed_dictionaries(
            {}, optional={"x": SCALARS, "y": SCALARS, "deep": st.dictionaries(st.sampled_from("pq"), SCALARS)}
        ),
    },
)
"""Objects in which a key is always an object or never one, as in a schema."""


@given(SHAPED)
def test_nothing_merged_changes_nothing(value: Json) -> None:
    assert merge(value, {}) == value == merge({}, value)


@given(SHAPED, SHAPED, SHAPED)
def test_levels_can_be_merged_in_any_grouping(one: Json, two: Json, three: Json) -> None:
    assert merge(merge(one, two), three) == merge(one, merge(two, three))


@given(SHAPED, SHAPED)
def test_what_is_over_wins_and_what_is_below_stays(base: Json, over: Json) -> None:
    merged = merge(base, over)
    assert set(merged) == set(base) | set(over)
    assert merge(merged, over) == merged
    assert {k: v for k, v in merged.items() if k not in over} == {k: v for k, v in base.items() if k not in over}


@given(SHAPED, SHAPED)
def test_merging_leaves_its_inputs_alone(base: Json, over: Json) -> None:
    before = (repr(base), repr(over))
    merge(base, over)
    assert (repr(base), repr(over)) == before


@pytest.mark.requirement("K02")
@pytest.mark.parametrize("one", history.hashes(), ids=lambda one: one["spec"]["pattern"])
def test_an_upgrade_leaves_the_hash_as_it_was(one: Json) -> None:
    """Another one has every awake session handed over anew, and each pod that does not start made anew."""
    template = TemplateFields.model_validate(one.get("template", {}))
    spec = AgentSessionSpec.model_validate(one["spec"])
    assert resolve(spec, template, TemplateFields(), template_name="default").hash == one["hash"]


def test_lists_are_replaced() -> None:
    assert merge({"l": [1, 2], "o": {"a": 1}}, {"l": [3], "o": {"b": 2}}) == {"l": [3], "o": {"a": 1, "b": 2}}


def fields(**values: object) -> TemplateFields:
    """Return a level with these fields."""
    return TemplateFields.model_validate(values)


LEVELS: list[tuple[str, Json, Json, Json]] = [
    ("image", {"image": "s"}, {"image": "t"}, {"image": "d"}),
    ("agent.model", {"agent": {"model": "s"}}, {"agent": {"model": "t"}}, {"agent": {"model": "d"}}),
    ("agent.max_turns", {"agent": {"maxTurns": 1}}, {"agent": {"maxTurns": 2}}, {"agent": {"maxTurns": 3}}),
    ("agent.tools", {"agent": {"tools": []}}, {"agent": {"tools": ["B"]}}, {"agent": {"tools": ["C", "D"]}}),
    ("resources.cpu", {"resources": {"cpu": 1}}, {"resources": {"cpu": 2}}, {"resources": {"cpu": 3}}),
    (
        "limits.active_deadline_seconds",
        {"limits": {"activeDeadlineSeconds": 1}},
        {"limits": {"activeDeadlineSeconds": 2}},
        {"limits": {"activeDeadlineSeconds": 3}},
    ),
    ("security.host_users", {"security": {"hostUsers": False}}, {"security": {"hostUsers": True}}, {}),
    ("node_selector", {"nodeSelector": {"a": "s"}}, {"nodeSelector": {"a": "t"}}, {"nodeSelector": {"a": "d"}}),
    ("env", {"env": [{"name": "A", "value": "s"}]}, {"env": [{"name": "A", "value": "t"}]}, {"env": []}),
]


def value_at(level: TemplateFields, path: str) -> object:
    """Return what stands at a path of attributes."""
    value: object = level
    for name in path.split("."):
        value = getattr(value, name) if value is not None else None
    return value


@pytest.mark.parametrize(("path", "session", "template", "defaults"), LEVELS, ids=[level[0] for level in LEVELS])
@pytest.mark.parametrize("highest", ["session", "template", "defaults", "built-in"])
def test_each_field_comes_from_the_highest_level_that_has_it(
    path: str, session: Json, template: Json, defaults: Json, highest: str
) -> None:
    levels_given = {"session": fields(**session), "template": fields(**template), "defaults": fields(**defaults)}
    names = ["session", "template", "defaults", "built-in"]
    below = names[names.index(highest) :]
    levels = {name: level if name in below else fields() for name, level in levels_given.items()}
    found = resolve(levels["session"], levels["template"], levels["defaults"], template_name="t").fields
    having = [value_at(levels_given[n], path) for n in below if n in levels_given] + [value_at(BUILT_IN, path)]
    assert value_at(found, path) == next((v for v in having if v is not None), None)


@given(st.lists(st.sampled_from([level[0] for level in LEVELS]), max_size=5), st.data())
def test_a_field_that_nobody_above_sets_keeps_its_built_in_value(paths: list[str], data: st.DataObject) -> None:
    chosen: Json = {}
    for _, *choices in (level for level in LEVELS if level[0] in paths):
        chosen = merge(chosen, data.draw(st.sampled_from(choices)))
    merged = resolve(fields(**chosen), None, fields(), template_name="default").fields
    for path, *_ in LEVELS:
        if path not in paths and value_at(fields(**chosen), path) is None:
            assert value_at(merged, path) == value_at(BUILT_IN, path)


def test_a_session_overrides_one_field_of_a_block_and_keeps_the_rest() -> None:
    session = make_session().with_spec(resources={"cpu": "2"}).build()
    settings = make_settings(session, resources={"memory": "8Gi", "requests": {"cpu": "100m"}})
    assert settings.fields.resources is not None
    assert settings.fields.resources.to_json() == {
        "cpu": "2",
        "memory": "8Gi",
        "ephemeralStorage": "5Gi",
        "requests": {"cpu": "100m"},
    }


def test_false_and_empty_are_values() -> None:
    session = make_session().with_spec(security={"hostUsers": False}, agent={"tools": []}).build()
    settings = make_settings(session, security={"hostUsers": True}, agent={"tools": ["Bash"]})
    assert settings.fields.security is not None
    assert settings.fields.security.host_users is False
    assert settings.agent.tools == []


def test_what_only_a_session_has_is_not_among_the_settings() -> None:
    one = make_settings(make_session().build())
    other = make_settings(make_session().with_spec(backoff_limit=9, prompt="other").build())
    assert one == other


def test_the_hash_follows_the_merged_result_and_not_where_it_came_from() -> None:
    by_session = make_settings(make_session().with_spec(image="x").build())
    by_template = make_settings(image="x")
    assert by_session.hash == by_template.hash
    assert by_session.hash != make_settings(image="y").hash


OF_THE_OPERATOR = {
    "priority": 7,
    "idleTimeoutSeconds": 77,
    "ttlSecondsAfterIdle": 77,
    "limits": {"startDeadlineSeconds": 77},
}
OF_POD_AND_AGENT: Json = {
    "image": "x",
    "imagePullPolicy": "Always",
    "imagePullSecrets": [{"name": "x"}],
    "agent": {"model": "opus"},
    "resources": {"cpu": "7"},
    "workspace": {"storage": "7Gi"},
    "security": {"hostUsers": False},
    "modelEndpoint": {"baseUrl": "http://other.test"},
    "networkPolicy": {"egress": []},
    "sessionStore": {"type": "Redis", "secretRef": {"name": "x"}},
    "contentLogging": "Include",
    "promptEnvironmentVariable": "TASK",
    "env": [{"name": "X", "value": "x"}],
    "nodeSelector": {"a": "b"},
    "tolerations": [{"key": "x", "operator": "Exists"}],
    "priorityClassName": "x",
    "disruption": "Safe",
    "terminationGracePeriodSeconds": 77,
}
LIMITS_OF_POD_AND_AGENT: Json = {
    "activeDeadlineSeconds": 77,
    "turnDeadlineSeconds": 77,
    "maxSessionTurns": 77,
    "maxAgeSeconds": 77,
    "recycleMemory": "77Mi",
    "recycleAgeSeconds": 77,
}


def hash_with(**spec: object) -> str:
    """Return the hash of a session's settings with further fields, in the form of the API."""
    body = {"pattern": "Ephemeral", "prompt": "p", **spec}
    return resolve(AgentSessionSpec.model_validate(body), None, TemplateFields(), template_name="default").hash


@pytest.mark.parametrize(("name", "value"), OF_THE_OPERATOR.items())
def test_what_only_the_operator_goes_by_is_not_in_the_hash(name: str, value: object) -> None:
    assert hash_with(**{name: value}) == hash_with()


@pytest.mark.parametrize(("name", "value"), OF_POD_AND_AGENT.items())
def test_all_else_changes_the_hash(name: str, value: object) -> None:
    assert hash_with(**{name: value}) != hash_with()


@pytest.mark.parametrize(("name", "value"), LIMITS_OF_POD_AND_AGENT.items())
def test_every_limit_that_a_pod_or_a_host_keeps_changes_the_hash(name: str, value: object) -> None:
    assert hash_with(limits={name: value}) != hash_with()


def test_it_is_known_of_every_field_whether_it_is_in_the_hash() -> None:
    fields_known = OF_THE_OPERATOR.keys() | OF_POD_AND_AGENT.keys()
    assert fields_known == {field.alias for field in TemplateFields.model_fields.values()}
    limits_known = {"startDeadlineSeconds"} | LIMITS_OF_POD_AND_AGENT.keys()
    assert limits_known == {field.alias for field in Limits.model_fields.values()}


@pytest.mark.parametrize(("exists", "name"), [(True, "default"), (False, None)])
def test_the_template_is_named_only_if_it_was_there(exists: bool, name: str | None) -> None:
    level = fields() if exists else None
    spec = AgentSessionSpec(pattern="Ephemeral", prompt="p")
    assert resolve(spec, level, fields(), template_name="default").template == name


def test_description_of_the_built_in_settings() -> None:
    described = describe(make_settings(agent={"model": "sonnet"}, workspace={"storage": "3Gi"}))
    assert described.to_json() | {"templateHash": ""} == {
        "template": "default",
        "templateHash": "",
        "image": BUILT_IN.image,
        "model": "sonnet",
        "modelBaseUrl": "http://model.test",
        "maxTurns": 20,
        "cpu": "1",
        "memory": "1Gi",
        "ephemeralStorage": "5Gi",
        "storage": "3Gi",
        "activeDeadlineSeconds": 3600,
        "disruption": "AtTurnBoundary",
    }


def test_description_names_the_runtime_class() -> None:
    assert describe(make_settings(security={"runtimeClassName": "gvisor"})).runtime_class_name == "gvisor"


def test_settings_of_nothing() -> None:
    bare = Settings(TemplateFields(), None, "h")
    assert bare.storage is None
    assert bare.agent.to_json() == {}
    assert describe(bare).to_json() == {"templateHash": "h", "disruption": "AtTurnBoundary"}
