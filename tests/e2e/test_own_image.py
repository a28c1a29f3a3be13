"""Images of others: the contract is files, variables, an exit code and a termination message."""

import pytest

from e2e.api import condition
from e2e.lab import Lab

NAME = "byo"


def own_image(lab: Lab, prompt: str) -> dict[str, str]:
    """Return the fields of a session with the other image, which reads its task from TASK_PROMPT."""
    return {"image": lab.images.reference(NAME), "prompt": prompt, "promptEnvironmentVariable": "TASK_PROMPT"}


@pytest.mark.requirement("H10", "K01")
def test_an_image_that_reads_the_prompt_from_its_environment(lab: Lab) -> None:
    """Its termination message is the result; the pod's manifest shows only where the prompt's Secret is."""
    found = lab.run(**own_image(lab, "count these four words"), podRetentionPolicy="Retain")
    uid = found["metadata"]["uid"]
    assert found["status"]["result"]["text"] == f"4 words in TASK_PROMPT, 4 in the file, session {uid}"
    (pod,) = lab.pods(found)
    (variable,) = [v for v in pod["spec"]["containers"][0]["env"] if v["name"] == "TASK_PROMPT"]
    assert set(variable["valueFrom"]) == {"secretKeyRef"}
    assert "count these" not in str(pod)


@pytest.mark.requirement("H10", "K02")
def test_a_failing_image_is_retried_and_quoted(lab: Lab) -> None:
    """An exit code other than 0 is a failure that may pass; what it said last is in status."""
    found = lab.run(**own_image(lab, "fail"), backoffLimit=1)
    status = found["status"]
    assert condition(found, "Succeeded")["status"] == "False"
    assert (status["restarts"], status["failures"]) == (1, 2)
    assert status["lastTermination"]["exitCode"] == 3
    assert "told to fail" in status["lastTermination"]["message"]


@pytest.mark.requirement("H10")
def test_an_image_without_the_variable_reads_the_file(lab: Lab) -> None:
    """The prompt file is there for every image."""
    found = lab.run(image=lab.images.reference(NAME), prompt="only two", restartPolicy="Never")
    assert found["status"]["result"]["text"].startswith("0 words in TASK_PROMPT, 2 in the file")
