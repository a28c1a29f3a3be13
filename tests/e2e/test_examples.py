"""The example manifests are right: the API server accepts every one, word for word."""

from pathlib import Path

import pytest
import yaml

from e2e import manifests
from e2e.install import ROOT
from e2e.lab import Lab

EXAMPLES = sorted((ROOT / "examples").glob("**/*.yaml"))


@pytest.mark.requirement("K04")
def test_there_are_examples() -> None:
    """Without any, the tests below would prove nothing."""
    assert EXAMPLES


@pytest.mark.requirement("K04")
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_a_dry_run_on_the_server_is_clean(lab: Lab, path: Path) -> None:
    """No error, and no warning such as for a field that does not exist."""
    words = ("apply", "--dry-run=server", "--warnings-as-errors", "-n", lab.namespace)
    text = lab.terminal.kubectl(*words, "-f", str(path))
    assert text.count("(server dry run)") == len([doc for doc in yaml.safe_load_all(path.read_text()) if doc])


@pytest.mark.requirement("K04")
def test_the_smallest_session_has_at_most_eight_lines(lab: Lab) -> None:
    """And it runs."""
    text = f"""\
apiVersion: agentsessions.dev/v1alpha1
kind: AgentSession
metadata:
  name: task
spec:
  pattern: Ephemeral
  prompt: {manifests.CANARY} Leave a file in the workspace.
"""
    assert len(text.splitlines()) <= 8
    lab.terminal.kubectl("apply", "-n", lab.namespace, "-f", "-", stdin=text)
    found = lab.succeeded()
    assert found["status"]["usage"]["turns"] == 2


@pytest.mark.requirement("H03", "K04")
def test_a_session_is_suspended_and_released_by_a_schedule(lab: Lab) -> None:
    """What its two CronJobs call is called here as their account, whose rights are those that they have."""
    text = (ROOT / "examples" / "session-suspended-at-night.yaml").read_text()
    lab.terminal.kubectl("apply", "-n", lab.namespace, "-f", "-", stdin=text)
    jobs = {doc["metadata"]["name"]: doc for doc in yaml.safe_load_all(text) if doc["kind"] == "CronJob"}
    for name, reason in (("office-closes", "Suspended"), ("office-opens", "Asleep")):
        pod = jobs[name]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        account = f"system:serviceaccount:{lab.namespace}:{pod['serviceAccountName']}"
        lab.terminal.kubectl(*pod["containers"][0]["args"], "-n", lab.namespace, "--as", account)
        lab.reason("office-hours", reason)
