"""Prompts stay where they belong: never in a pod's manifest, a process's arguments, an event, a log, a status.

The manifests of all pods, all events and the operator's log are searched after every test, see `guard`.
"""

import json

import pytest

from e2e import manifests
from e2e.access import may
from e2e.api import SECRETS
from e2e.lab import Lab, gated
from e2e.manifests import CANARY, say
from e2e.operator_pod import USER_NAME

_ARGUMENTS = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"


@pytest.mark.requirement("H10", "K01")
def test_no_process_shows_the_prompt_in_its_arguments(lab: Lab) -> None:
    """Every user of a node can read arguments; the CLI is started by the SDK, and the prompt goes over stdin."""
    lab.start(steps=(gated(), say("done")))
    pod = lab.at_gate()
    arguments = lab.execute(pod, "sh", "-c", _ARGUMENTS)
    assert "claude" in arguments, "the probe does not see the CLI, so it proves nothing"
    assert CANARY not in arguments
    lab.open_gate(pod)
    found = lab.succeeded()
    assert CANARY not in json.dumps(found["status"])


@pytest.mark.requirement("H10")
def test_a_failed_model_call_does_not_repeat_the_prompt(lab: Lab) -> None:
    """Error texts travel to status, events and logs; the prompt must not travel with them."""
    found = lab.run(steps=({"error": {"status": 400, "type": "invalid_request_error"}},))
    assert found["status"]["lastTermination"]["reason"] == "ModelRequestRejected"
    assert CANARY not in json.dumps(found["status"])


@pytest.mark.requirement("H10")
def test_the_pod_log_omits_content_unless_asked(lab: Lab) -> None:
    """`contentLogging` is Omit by default: what the agent says and does is nobody's business."""
    steps = (manifests.bash("echo secret-of-the-tool"), say("secret-of-the-agent"))
    found = lab.run(steps=steps, podRetentionPolicy="Retain")
    log = lab.terminal.kubectl("logs", "-n", lab.namespace, found["status"]["host"]["pod"])
    assert log, "an empty log proves nothing"
    for words in (CANARY, "secret-of-the-tool", "secret-of-the-agent"):
        assert words not in log


@pytest.mark.requirement("H10")
def test_a_prompt_from_a_secret_is_never_read_by_the_operator(lab: Lab) -> None:
    """The node mounts it; the operator's role has no verb to read Secrets with."""
    lab.api.create(manifests.secret(lab.namespace, "task", words=manifests.prompt(say("from the secret"))))
    found = lab.run(promptSecretRef={"name": "task", "key": "words"})
    assert found["status"]["result"]["text"] == "from the secret"
    own = lab.api.list(SECRETS, lab.namespace, labelSelector="app.kubernetes.io/managed-by=agentsessions")
    assert [sorted(secret["data"]) for secret in own] == [["session.json"]]
    assert [verb for verb in ("get", "list", "watch") if may(lab.api, USER_NAME, verb, "secrets")] == []


@pytest.mark.requirement("H10")
def test_the_pod_holds_no_key(lab: Lab) -> None:
    """The variable that the SDK wants carries a placeholder; the endpoint adds the key."""
    lab.start(steps=(gated(), say("done")))
    pod = lab.at_gate()
    environment = lab.execute(pod, "sh", "-c", "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'")
    assert "ANTHROPIC_API_KEY=placeholder" in environment.splitlines()
    assert "sk-ant-" not in environment
    lab.open_gate(pod)
    lab.succeeded()
