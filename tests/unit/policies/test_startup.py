"""Why a pod has not started: real messages of scheduler, kubelet and volume controllers, and what we make of them."""

from datetime import timedelta

import pytest

from agentsessions.api.base import Json
from agentsessions.api.conditions import State
from agentsessions.policies.startup import PATIENCE, PodWarning, diagnose, needs_events
from unit import kubelet
from unit.make import NOW, make_pod

IMAGE = "registry.test/agent:1"
BLOCKED, PROGRESSING = State.BLOCKED, State.PROGRESSING

PULL_FAILED = (
    'rpc error: code = NotFound desc = failed to pull and unpack image "registry.test/agent:1": '
    "failed to resolve reference: not found"
)
MOUNT_MISSING = 'MountVolume.SetUp failed for volume "session" : secret "task" not found'
MOUNT_MISSING_KEY = 'MountVolume.SetUp failed for volume "session" : references non-existent secret key: prompt'
ENV_MISSING_KEY = "couldn't find key prompt in Secret team-a/task"
UNBOUND = (
    "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims. "
    "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
)
ATTACH = 'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) other'
SANDBOX = 'Failed to create pod sandbox: rpc error: code = Unknown desc = no runtime for "gvisor" is configured'


@pytest.mark.parametrize(
    ("status", "warnings", "state", "reason", "words"),
    [
        pytest.param(kubelet.pending(), [], PROGRESSING, "Starting", ["hello-199a6b7b-0"], id="just-created"),
        pytest.param(kubelet.creating(), [], PROGRESSING, "Starting", ["is starting"], id="creating"),
        pytest.param(
            kubelet.creating("ErrImagePull", PULL_FAILED),
            [],
            BLOCKED,
            "ImagePullFailed",
            [IMAGE, "`image`", "`imagePullSecrets`"],
            id="image-pull-error",
        ),
        pytest.param(
            kubelet.creating("ImagePullBackOff", f'Back-off pulling image "{IMAGE}"'),
            [],
            BLOCKED,
            "ImagePullFailed",
            [IMAGE],
            id="image-pull-back-off",
        ),
        pytest.param(
            kubelet.creating("InvalidImageName", 'Failed to apply default image tag "A:B:C"'),
            [],
            BLOCKED,
            "ImagePullFailed",
            ["`image`"],
            id="image-name-makes-no-sense",
        ),
        pytest.param(
            kubelet.creating("CreateContainerConfigError", 'secret "task" not found'),
            [],
            BLOCKED,
            "SecretNotFound",
            ["Secret 'task'", "Create it"],
            id="secret-of-a-variable",
        ),
        pytest.param(
            kubelet.creating("CreateContainerConfigError", ENV_MISSING_KEY),
            [],
            BLOCKED,
            "SecretNotFound",
            ["no key 'prompt'"],
            id="key-of-a-variable",
        ),
        pytest.param(
            kubelet.creating("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"),
            [],
            BLOCKED,
            "StartFailed",
            ["runAsNonRoot"],
            id="config-error-of-another-kind",
        ),
        pytest.param(
            kubelet.creating("RunContainerError", "exec: no such file"),
            [],
            BLOCKED,
            "StartFailed",
            ["exec"],
            id="no-exec",
        ),
        pytest.param(
            kubelet.unschedulable(), [], PROGRESSING, "Unschedulable", ["2 Insufficient memory"], id="no-room"
        ),
        pytest.param(
            kubelet.unschedulable(UNBOUND), [], PROGRESSING, "Unschedulable", ["PersistentVolumeClaims"], id="no-volume"
        ),
        pytest.param(
            kubelet.creating(),
            [PodWarning("FailedMount", MOUNT_MISSING)],
            BLOCKED,
            "SecretNotFound",
            ["Secret 'task'"],
            id="secret-of-a-volume",
        ),
        pytest.param(
            kubelet.creating(),
            [PodWarning("FailedMount", MOUNT_MISSING_KEY)],
            BLOCKED,
            "SecretNotFound",
            ["no key 'prompt'"],
            id="key-of-a-volume",
        ),
        pytest.param(
            kubelet.creating(),
            [PodWarning("FailedMount", "timed out waiting for the condition")],
            PROGRESSING,
            "VolumeNotReady",
            ["timed out"],
            id="mount-of-another-kind",
        ),
        pytest.param(
            kubelet.creating(),
            [PodWarning("FailedAttachVolume", ATTACH)],
            PROGRESSING,
            "VolumeNotReady",
            ["Multi-Attach"],
            id="attach",
        ),
        pytest.param(
            kubelet.creating(),
            [PodWarning("FailedCreatePodSandBox", SANDBOX)],
            BLOCKED,
            "StartFailed",
            ["gvisor"],
            id="runtime-class-without-runtime",
        ),
        pytest.param(
            kubelet.creating(),
            [PodWarning("FailedMount", MOUNT_MISSING), PodWarning("DNSConfigForming", "limits were exceeded")],
            BLOCKED,
            "SecretNotFound",
            ["task"],
            id="warnings-that-do-not-matter-are-passed-over",
        ),
        pytest.param(
            kubelet.creating(),
            [PodWarning("FailedMount", MOUNT_MISSING), PodWarning("FailedAttachVolume", ATTACH)],
            PROGRESSING,
            "VolumeNotReady",
            ["Multi-Attach"],
            id="the-last-complaint-counts",
        ),
        pytest.param(
            kubelet.creating(), [PodWarning("Odd", "?")], PROGRESSING, "Starting", ["starting"], id="unknown-warning"
        ),
    ],
)
def test_diagnosis(status: Json, warnings: list[PodWarning], state: State, reason: str, words: list[str]) -> None:
    found = diagnose(make_pod().with_status(status).facts(), warnings, IMAGE)
    assert (found.state, found.reason) == (state, reason)
    assert [word for word in words if word not in found.message] == []


def test_the_words_for_an_image_stay_the_same_while_the_kubelet_changes_its_own() -> None:
    texts = {
        diagnose(make_pod().with_status(kubelet.creating(reason, text)).facts(), [], IMAGE).message
        for reason, text in [("ErrImagePull", PULL_FAILED), ("ImagePullBackOff", "Back-off 10s"), ("ErrImagePull", "")]
    }
    assert len(texts) == 1


OLD = NOW - PATIENCE - timedelta(seconds=1)


@pytest.mark.parametrize(
    ("status", "old", "needed"),
    [
        pytest.param(kubelet.creating(), True, True, id="stuck"),
        pytest.param(kubelet.creating("PodInitializing"), True, True, id="stuck-later"),
        pytest.param(kubelet.pending(), True, True, id="no-node-and-no-word"),
        pytest.param(kubelet.creating(), False, False, id="give-it-time"),
        pytest.param(kubelet.creating("ErrImagePull"), True, False, id="it-says-why"),
        pytest.param(kubelet.unschedulable(), True, False, id="the-scheduler-says-why"),
        pytest.param(kubelet.running(), True, False, id="running"),
        pytest.param(kubelet.ended(0), True, False, id="ended"),
    ],
)
def test_events_are_asked_for_only_when_nothing_else_tells(status: Json, old: bool, needed: bool) -> None:
    pod = make_pod(created=OLD if old else NOW).with_status(status).facts()
    assert needs_events(pod, NOW) is needed
