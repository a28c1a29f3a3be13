"""Environment, volumes, resources and the children beside the pod."""

import base64
import json

import pytest
from hypothesis import given

from agentsessions.api.base import Json
from agentsessions.api.config import Gateway
from agentsessions.api.session import AgentSession
from agentsessions.api.template import KEY_VARIABLES, Resources, TemplateFields
from agentsessions.builders.environment import environment
from agentsessions.builders.resources import cpu_request, resource_requirements
from agentsessions.builders.secret import session_secret
from agentsessions.builders.volumeclaim import volume_claim
from agentsessions.builders.volumes import mounts, volumes
from agentsessions.policies.resolve import Settings
from unit.make import PROMPT, UID, make_session, make_settings
from unit.strategies import TEMPLATES, sessions

OWNER = {
    "apiVersion": "agentsessions.dev/v1alpha1",
    "kind": "AgentSession",
    "name": "hello",
    "uid": UID,
    "controller": True,
    "blockOwnerDeletion": True,
}
LABELS = {
    "app.kubernetes.io/managed-by": "agentsessions",
    "app.kubernetes.io/name": "agentsession",
    "app.kubernetes.io/component": "session",
    "agentsessions.dev/session": "hello",
    "agentsessions.dev/session-uid": UID,
}


def env_of(session: AgentSession, settings: Settings) -> dict[str, Json]:
    """Return the variables by name; none may be there twice."""
    found = environment(session, settings, "files", Gateway())
    assert len({var["name"] for var in found}) == len(found)
    return {var["name"]: var for var in found}


def test_a_template_may_add_variables() -> None:
    env = env_of(make_session().build(), make_settings(env=[{"name": "LANG", "value": "C"}]))
    assert env["LANG"] == {"name": "LANG", "value": "C"}


@pytest.mark.parametrize(
    "name", ["ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "HOME", "AGENTSESSIONS_SESSION_ID", "CLAUDE_CONFIG_DIR"]
)
def test_the_contracts_variables_are_not_to_be_overridden(name: str) -> None:
    session = make_session().build()
    plain = env_of(session, make_settings(session))
    assert env_of(session, make_settings(session, env=[{"name": name, "value": "mine"}])) == plain


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "HOME", "ANTHROPIC_BASE_URL"])
def test_nor_by_the_prompt(name: str) -> None:
    session = make_session().build()
    found = env_of(session, make_settings(session, prompt_environment_variable=name))
    assert found[name] == env_of(session, make_settings(session))[name]


@pytest.mark.parametrize("name", KEY_VARIABLES)
def test_a_key_among_the_operators_defaults_never_reaches_a_pod(name: str) -> None:
    settings = make_settings(env=[{"name": name, "value": "sk-real"}])
    assert "sk-real" not in json.dumps(environment(make_session().build(), settings, "secret", Gateway()))


def test_the_prompts_variable_beats_one_of_the_template() -> None:
    settings = make_settings(prompt_environment_variable="TASK", env=[{"name": "TASK", "value": "mine"}])
    assert "valueFrom" in env_of(make_session().build(), settings)["TASK"]


@given(sessions(), TEMPLATES)
def test_no_variable_is_there_twice(session: AgentSession, template: TemplateFields) -> None:
    fields = template.model_dump(by_alias=False, exclude_none=True)
    env_of(session, make_settings(session, **fields))


@pytest.mark.parametrize(
    ("maker", "source"),
    [
        pytest.param(make_session(), {"name": "files", "key": "prompt"}, id="prompt-in-the-session"),
        pytest.param(
            make_session().with_prompt_secret("own", "task"), {"name": "own", "key": "task"}, id="prompt-in-a-secret"
        ),
    ],
)
def test_a_prompt_in_a_variable_stays_in_a_secret(maker: object, source: Json) -> None:
    session = maker.build()  # type: ignore[attr-defined]
    env = env_of(session, make_settings(session, prompt_environment_variable="TASK_PROMPT"))
    assert env["TASK_PROMPT"] == {"name": "TASK_PROMPT", "valueFrom": {"secretKeyRef": source}}


def test_without_an_endpoint_there_is_no_base_url() -> None:
    assert "ANTHROPIC_BASE_URL" not in env_of(make_session().build(), Settings(TemplateFields(), None, ""))


def test_a_volume_carries_workspace_and_transcript() -> None:
    session = make_session().with_storage("10Gi").build()
    settings = make_settings(session)
    assert volumes(session, settings, "files")[-1] == {
        "name": "data",
        "persistentVolumeClaim": {"claimName": "hello-199a6b7b"},
    }
    assert mounts(settings)[-2:] == [
        {"name": "data", "mountPath": "/workspace", "subPath": "workspace"},
        {"name": "data", "mountPath": "/state", "subPath": "state"},
    ]


def test_a_prompt_from_a_secret_of_the_user_is_put_beside_the_options() -> None:
    session = make_session().with_prompt_secret("own", "task").build()
    sources = volumes(session, make_settings(session), "files")[0]["projected"]["sources"]
    assert sources == [
        {"secret": {"name": "files", "items": [{"key": "session.json", "path": "session.json"}]}},
        {"secret": {"name": "own", "items": [{"key": "task", "path": "prompt"}]}},
    ]


def test_a_local_directory_without_a_known_limit_has_none() -> None:
    session = make_session().build()
    local = volumes(session, Settings(TemplateFields(), None, ""), "files")[1]
    assert local == {"name": "home", "emptyDir": {}}


@pytest.mark.parametrize(
    ("resources", "requests"),
    [
        pytest.param(
            {"cpu": "2", "memory": "4Gi", "ephemeralStorage": "9Gi"},
            {"cpu": "500m", "memory": "4Gi", "ephemeral-storage": "9Gi"},
            id="by-the-rule",
        ),
        pytest.param(
            {"cpu": "2", "memory": "4Gi", "requests": {"cpu": "2", "memory": "1Gi"}},
            {"cpu": "2", "memory": "1Gi"},
            id="as-said",
        ),
        pytest.param({}, {}, id="nothing-said"),
    ],
)
def test_requests(resources: Json, requests: Json) -> None:
    assert resource_requirements(Resources.model_validate(resources))["requests"] == requests


def test_limits_are_as_said() -> None:
    found = resource_requirements(Resources(cpu="2", memory="4Gi", ephemeral_storage="9Gi"))
    assert found["limits"] == {"cpu": "2", "memory": "4Gi", "ephemeral-storage": "9Gi"}
    assert resource_requirements(None) == {"limits": {}, "requests": {}}


@pytest.mark.parametrize(
    ("limit", "request_"),
    [("1", "250m"), ("500m", "125m"), ("0.5", "125m"), ("1.5", "375m"), ("1m", "1m"), ("2e1", "5000m"), ("1k", "250m")],
)
def test_cpu_is_shared_by_four(limit: str, request_: str) -> None:
    assert cpu_request(limit) == request_


@pytest.mark.parametrize(
    "limit", ["1k", "abc", "abcm", "m", "", "NaN", "Infinity", "1e999990", "1e999990m", "1e99999999"]
)
def test_what_is_no_cpu_is_left_to_the_api_server_to_refuse(limit: str) -> None:
    assert cpu_request(limit) == "250m"


def files_of(secret: Json) -> dict[str, str]:
    """Return the decoded content."""
    return {name: base64.b64decode(text).decode() for name, text in secret["data"].items()}


def test_the_whole_secret_of_the_smallest_session() -> None:
    session = make_session().build()
    secret = session_secret(session, make_settings(session), 0)
    name = secret["metadata"].pop("name")
    files = files_of(secret)
    assert {key: value for key, value in secret.items() if key != "data"} == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": "team-a", "labels": LABELS, "ownerReferences": [OWNER]},
        "type": "agentsessions.dev/session",
        "immutable": True,
    }
    assert name.startswith("hello-199a6b7b-0-")
    assert set(files) == {"prompt", "session.json"}
    assert files["prompt"] == PROMPT
    assert json.loads(files["session.json"]) == {
        "version": 1,
        "sessionId": UID,
        "namespace": "team-a",
        "name": "hello",
        "attempt": 0,
        "agent": {"maxTurns": 20},
        "contentLogging": "Omit",
    }


def test_the_secret_is_named_by_its_content() -> None:
    """It is immutable, and may be left over from a pass that was cut short."""

    def name(attempt: int = 0, **template: object) -> str:
        session = make_session().build()
        secret = session_secret(session, make_settings(session, **template), attempt)
        return str(secret["metadata"]["name"])

    assert name() == name()
    assert len({name(), name(1), name(agent={"model": "opus"}), name(content_logging="Include")}) == 4
    assert name(image="other") == name()


def test_a_prompt_in_a_secret_of_the_user_is_never_copied() -> None:
    session = make_session().with_prompt_secret("own").build()
    assert set(files_of(session_secret(session, make_settings(session), 0))) == {"session.json"}


@pytest.mark.parametrize("prompt", ["ünïcode ☃", "line\nline\r\n", '{"a": "b"}', " leading", "\u0000"])
def test_the_prompt_arrives_byte_for_byte(prompt: str) -> None:
    session = make_session().with_spec(prompt=prompt).build()
    assert files_of(session_secret(session, make_settings(session), 0))["prompt"] == prompt


def test_a_structured_answers_schema_reaches_the_agent_whole() -> None:
    schema = {"type": "object", "properties": {"n": {"type": ["integer", "null"], "default": None}}}
    session = make_session().with_spec(agent={"outputSchema": schema}).build()
    document = json.loads(files_of(session_secret(session, make_settings(session), 0))["session.json"])
    assert document["agent"]["outputSchema"] == schema


def test_a_sessions_schema_replaces_its_templates_instead_of_mixing_with_it() -> None:
    mine = {"type": "object", "properties": {"mine": {"type": "string"}}}
    theirs = {"type": "object", "properties": {"theirs": {"type": "string"}}, "required": ["theirs"]}
    session = make_session().with_spec(agent={"outputSchema": mine}).build()
    settings = make_settings(session, agent={"outputSchema": theirs})
    assert settings.agent.output_schema == mine


def test_the_whole_claim() -> None:
    session = make_session().with_storage("10Gi", "fast").build()
    assert volume_claim(session, make_settings(session)) == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": "hello-199a6b7b",
            "namespace": "team-a",
            "labels": LABELS,
            "ownerReferences": [OWNER],
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "10Gi"}},
            "storageClassName": "fast",
        },
    }


def test_a_claim_without_a_class_takes_the_clusters_default() -> None:
    session = make_session().with_storage("10Gi").build()
    claim = volume_claim(session, make_settings(session))
    assert claim is not None
    assert "storageClassName" not in claim["spec"]


def test_no_storage_no_claim() -> None:
    session = make_session().build()
    assert volume_claim(session, make_settings(session)) is None
