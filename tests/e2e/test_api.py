"""The API server refuses what cannot work, naming field and fix, before the operator ever sees it."""

from collections.abc import Iterator
from typing import Any

import pytest

from e2e import manifests
from e2e.api import SESSIONS, TEMPLATES, Api, ApiError, Json
from e2e.lab import Lab, Labs
from e2e.terminal import CommandFailed

LONG = "x" * 10_000

REFUSED: list[Any] = [
    pytest.param({"pattern": "Swarm"}, ("spec.pattern", '"Ephemeral"'), id="unknown pattern"),
    pytest.param({"pattern": "LongRunning", "prompt": None}, ("spec", "`poolRef` must be set"), id="no pool"),
    pytest.param({"poolRef": {"name": "chat"}}, ("spec", "`poolRef` must not be set"), id="pool for one task"),
    pytest.param({"pattern": "Hybrid"}, ("spec", "through the gateway"), id="prompt for a sleeper"),
    pytest.param({"suspended": True}, ("spec", "unless the session is Hybrid"), id="one task suspended"),
    pytest.param(
        {"pattern": "Hybrid", "prompt": None, "sessionStore": {"type": "S3"}},
        ("spec.sessionStore", "`s3` must be set"),
        id="store without its bucket",
    ),
    pytest.param(
        {"pattern": "Hybrid", "prompt": None, "sessionStore": {"type": "Redis"}},
        ("spec.sessionStore", "`secretRef` must name a Secret"),
        id="store without credentials",
    ),
    pytest.param(
        {"pattern": "LongRunning", "poolRef": {"name": "chat"}},
        ("spec", "through the gateway"),
        id="prompt for a conversation",
    ),
    pytest.param(
        {"pattern": "LongRunning", "prompt": None, "poolRef": {"name": "chat"}, "image": "x"},
        ("spec", "pool's AgentTemplate"),
        id="image of its own on a shared host",
    ),
    pytest.param({"ttlSecondsAfterIdle": 60}, ("spec", "unless the session is Hybrid"), id="idle ttl of a task"),
    pytest.param(
        {"pattern": "LongRunning", "prompt": None, "poolRef": {"name": "chat"}, "ttlSecondsAfterIdle": 60},
        ("spec", "`ttlSecondsAfterIdle` must not be set unless the session is Hybrid"),
        id="idle ttl of a session that never sleeps",
    ),
    pytest.param(
        {"pattern": "Hybrid", "prompt": None, "ttlSecondsAfterIdle": 3},
        ("spec.ttlSecondsAfterIdle", "must be 0, for a session that is kept, or at least 5"),
        id="idle ttl too short",
    ),
    pytest.param(
        {"pattern": "LongRunning", "prompt": None, "poolRef": {"name": "chat"}, "ttlSecondsAfterFinished": 60},
        ("spec", "`ttlSecondsAfterFinished` must not be set", "others never finish"),
        id="ttl of what never finishes",
    ),
    pytest.param(
        {"pattern": "LongRunning", "prompt": None, "poolRef": {"name": "chat"}, "priority": 1},
        ("spec", "`priority`", "no pod is started"),
        id="priority of what does not queue",
    ),
    pytest.param(
        {"pattern": "LongRunning", "prompt": None, "poolRef": {"name": "chat"}, "limits": {"startDeadlineSeconds": 9}},
        ("spec", "`limits.startDeadlineSeconds`", "no pod is started"),
        id="start deadline without a pod",
    ),
    pytest.param({"ports": [{"name": "site", "port": 80}]}, ("spec.ports[0].port", "1024"), id="privileged port"),
    pytest.param({"onMissingTranscript": "Guess"}, ("spec.onMissingTranscript", '"StartFresh"'), id="odd policy"),
    pytest.param({"prompt": None}, ("spec", "exactly one of `prompt` and `promptSecretRef`"), id="no prompt"),
    pytest.param(
        {"prompt": "x", "promptSecretRef": {"name": "a", "key": "b"}}, ("exactly one of `prompt`",), id="two prompts"
    ),
    pytest.param({"prompt": ""}, ("spec.prompt", "at least 1"), id="empty prompt"),
    pytest.param({"prompt": "x" * 262_145}, ("spec.prompt", "may not be more than 262144"), id="giant prompt"),
    pytest.param({"backoffLimit": -1}, ("spec.backoffLimit", "greater than or equal to 0"), id="negative backoff"),
    pytest.param(
        {"limits": {"activeDeadlineSeconds": -5}},
        ("spec.limits.activeDeadlineSeconds", "greater than or equal to 1"),
        id="negative deadline",
    ),
    pytest.param({"agent": {"maxTurns": 0}}, ("spec.agent.maxTurns", "greater than or equal to 1"), id="no turns"),
    pytest.param(
        {"ttlSecondsAfterFinished": -1}, ("spec.ttlSecondsAfterFinished", "greater than or equal to 0"), id="past ttl"
    ),
    pytest.param(
        {"resources": {"memory": "-1Gi"}}, ("spec.resources.memory", "positive quantity"), id="negative memory"
    ),
    pytest.param({"resources": {"cpu": "lots"}}, ("spec.resources.cpu", "for example 500m"), id="cpu in words"),
    pytest.param({"workspace": {"storage": 0}}, ("spec.workspace.storage", "positive quantity"), id="no storage"),
    pytest.param({"templateRef": {"name": LONG}}, ("spec.templateRef.name", "253"), id="long template name"),
    pytest.param({"templateRef": {"name": "Not A Name"}}, ("spec.templateRef.name", "should match"), id="odd name"),
    pytest.param(
        {"promptSecretRef": {"name": LONG, "key": "k"}, "prompt": None},
        ("spec.promptSecretRef.name", "253"),
        id="long secret name",
    ),
    pytest.param({"image": LONG}, ("spec.image", "1024"), id="long image"),
    pytest.param({"agent": {"model": LONG}}, ("spec.agent.model", "256"), id="long model"),
    pytest.param(
        {"agent": {"permissionMode": "auto"}}, ("spec.agent.permissionMode", '"dontAsk"'), id="unknown permission mode"
    ),
    pytest.param(
        {"env": [{"name": "ANTHROPIC_API_KEY", "value": "k"}]}, ("spec.env", "modelEndpoint"), id="key in environment"
    ),
    pytest.param({"env": [{"name": "A=B", "value": ""}]}, ("spec.env[0].name", "should match"), id="odd variable"),
    pytest.param(
        {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]},
        ("spec.env[1]", "Duplicate value"),
        id="variable twice",
    ),
    pytest.param(
        {"modelEndpoint": {"baseUrl": "ftp://model"}}, ("spec.modelEndpoint.baseUrl", "https?"), id="odd base URL"
    ),
    pytest.param(
        {"networkPolicy": {"egress": [{"port": 70_000, "cidr": "10.0.0.0/8"}]}},
        ("spec.networkPolicy.egress[0].port", "65535"),
        id="port out of range",
    ),
    pytest.param(
        {"networkPolicy": {"egress": [{"port": 443}]}},
        ("spec.networkPolicy.egress[0]", "either `cidr`, or `namespace`"),
        id="egress to nowhere",
    ),
    pytest.param({"prompt": 7}, ("spec.prompt", "string"), id="number for a text"),
    pytest.param({"agent": []}, ("spec.agent", "object"), id="list for an object"),
]


@pytest.fixture(scope="module")
def refusing(labs: Labs) -> Iterator[Lab]:
    """A namespace in which nothing is ever accepted, shared by all refusals."""
    with labs() as own:
        yield own


@pytest.mark.requirement("K01")
@pytest.mark.parametrize(("change", "said"), REFUSED)
def test_a_bad_session_is_refused_with_field_and_fix(refusing: Lab, change: Json, said: tuple[str, ...]) -> None:
    """No pod is ever made of a manifest that cannot work."""
    manifest = manifests.session(refusing.namespace, **{"prompt": "x", **change})
    manifest["spec"] = {key: value for key, value in manifest["spec"].items() if value is not None}
    with pytest.raises(ApiError) as refusal:
        refusing.api.create(manifest)
    assert refusal.value.code == 422
    for words in said:
        assert words in refusal.value.message


@pytest.mark.requirement("K01")
@pytest.mark.parametrize("name", [LONG, "x" * 64, "Upper", "with space"])
def test_a_bad_name_is_refused(refusing: Lab, name: str) -> None:
    """Names of sessions become labels, so 63 characters is the most."""
    with pytest.raises(ApiError) as refusal:
        refusing.api.create(manifests.session(refusing.namespace, name))
    assert refusal.value.code == 422
    assert "metadata.name" in refusal.value.message


@pytest.mark.requirement("K01")
def test_a_session_without_spec_is_refused(refusing: Lab) -> None:
    """The whole of the manifest that matters is missing."""
    manifest = manifests.session(refusing.namespace)
    del manifest["spec"]
    with pytest.raises(ApiError, match="spec: Required value"):
        refusing.api.create(manifest)


@pytest.mark.requirement("K04")
def test_a_misspelt_field_is_refused_at_the_terminal(refusing: Lab) -> None:
    """kubectl asks the server to be strict."""
    manifest = manifests.session(refusing.namespace, promt="x")
    with pytest.raises(CommandFailed, match=r"spec\.promt"):
        refusing.terminal.apply(manifest)


@pytest.mark.requirement("K01")
@pytest.mark.parametrize(
    ("field", "before", "after"),
    [
        ("prompt", "one", "two"),
        ("templateRef", {"name": "a"}, {"name": "b"}),
        ("templateRef", {"name": "a"}, None),
        ("templateRef", None, {"name": "b"}),
    ],
)
def test_what_a_session_is_about_never_changes(lab: Lab, field: str, before: object, after: object) -> None:
    """A changed prompt is a new session: the old one may have run already."""
    first = manifests.session(lab.namespace, templateRef={"name": "absent"}, prompt="one") | {}
    first["spec"][field] = before
    first["spec"] = {key: value for key, value in first["spec"].items() if value is not None}
    lab.api.create(manifests.quota(lab.namespace, pods=0))
    lab.api.create(first)
    with pytest.raises(ApiError, match=f"`{field}` must not change after creation"):
        lab.api.patch(SESSIONS, lab.namespace, "task", {"spec": {field: after}})


@pytest.mark.requirement("K01")
def test_a_bad_template_is_refused(refusing: Lab) -> None:
    """A template is checked by the same rules, at the moment it is written."""
    manifest = manifests.template(refusing.namespace, resources={"memory": "much"})
    with pytest.raises(ApiError) as refusal:
        refusing.api.create(manifest)
    assert "spec.resources.memory" in refusal.value.message
    assert refusing.api.list(TEMPLATES, refusing.namespace) == []


@pytest.mark.requirement("K04")
@pytest.mark.parametrize("kind", ["AgentSession", "AgentTemplate"])
def test_every_field_explains_itself(api: Api, operator: object, kind: str) -> None:
    """`kubectl explain` reads these descriptions; a field without one is a hole in the documentation."""
    document = api.request("GET", "/openapi/v3/apis/agentsessions.dev/v1alpha1")
    schema = document["components"]["schemas"][f"dev.agentsessions.v1alpha1.{kind}"]
    silent = [path for path, node in _fields(schema, kind) if not node.get("description")]
    assert len(list(_fields(schema, kind))) > 40
    assert silent == []


def _fields(node: Json, path: str) -> Iterator[tuple[str, Json]]:
    """Yield every field below a schema node, with its path; metadata is Kubernetes' own."""
    for name, child in node.get("properties", {}).items():
        if path.count(".") == 0 and name == "metadata":
            continue
        yield f"{path}.{name}", child
        yield from _fields(child, f"{path}.{name}")
    if isinstance(node.get("items"), dict):
        yield from _fields(node["items"], f"{path}[]")


@pytest.mark.requirement("K04")
def test_explain_reads_like_documentation(refusing: Lab) -> None:
    """What a person sees at the terminal is the text of the models."""
    text = " ".join(refusing.terminal.kubectl("explain", "asess.spec.promptSecretRef").split())
    assert "the operator never reads it" in text
    listed = refusing.terminal.kubectl("api-resources", "--categories=agents", "-o", "name").split()
    assert listed == [f"{kind}.agentsessions.dev" for kind in ("agentpools", "agentsessions", "agenttemplates")]
