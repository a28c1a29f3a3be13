"""Sessions that are stuck say why, cost next to nothing while they are, and go on by themselves once it is mended.

All kinds of trouble are made at once and watched for a minute together; then each is mended in a test of its own.
"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from e2e import audit, manifests
from e2e.api import EVENTS, QUOTAS, SESSIONS, Json, condition
from e2e.audit import AuditLog
from e2e.lab import Lab, Labs
from e2e.manifests import say

_OBSERVED = 60
_MOST_WRITES = 2
_REFUSALS = 8
"""Attempts in the first minute that the API server may have to refuse: after 10 s, then less and less often."""

ABSENT_IMAGE = "agentsessions.dev/absent:dev"
STUCK = {
    "no-template": "TemplateNotFound",
    "no-image": "ImagePullFailed",
    "no-image-in-template": "ImagePullFailed",
    "no-secret": "SecretNotFound",
    "no-key": "SecretNotFound",
    "no-room": "Unschedulable",
    "no-quota": "QuotaExceeded",
}


@dataclass(frozen=True)
class Trouble:
    """The namespaces of the stuck sessions, and what a minute of being stuck has cost each of them."""

    lab: Lab
    poor: Lab
    changes: Counter[str]
    entries: list[Json] | None

    def home(self, name: str) -> Lab:
        """Return the namespace of a stuck session."""
        return self.poor if name == "no-quota" else self.lab

    def healed(self, name: str) -> Json:
        """Return the session once it has come to a good end, without a failure on its account."""
        found = self.home(name).succeeded(name, 300)
        assert found["status"]["result"]["text"] == "healed"
        assert found["status"]["failures"] == 0
        return found


def _make(lab: Lab, poor: Lab) -> None:
    """Make one session for every kind of trouble."""
    steps = (say("healed"),)
    lab.api.apply(manifests.template(lab.namespace, "pictureless", image=ABSENT_IMAGE))
    lab.api.create(manifests.secret(lab.namespace, "keyless", other="x"))
    poor.api.create(manifests.quota(poor.namespace, pods=0))
    lab.start("no-template", steps=steps, templateRef={"name": "absent"})
    lab.start("no-image", steps=steps, image=ABSENT_IMAGE)
    lab.start("no-image-in-template", steps=steps, templateRef={"name": "pictureless"})
    lab.start("no-secret", promptSecretRef={"name": "absent", "key": "prompt"})
    lab.start("no-key", promptSecretRef={"name": "keyless", "key": "prompt"})
    lab.start("no-room", steps=steps, resources={"cpu": "900"})
    poor.start("no-quota", steps=steps)


def _watch(lab: Lab, versions: dict[str, str]) -> Counter[str]:
    """Count the changes of every session for a minute, beginning with the versions given."""
    changes: Counter[str] = Counter()
    until = time.monotonic() + _OBSERVED
    oldest = min(map(int, versions.values()))
    for event, seen in lab.api.watch(SESSIONS, lab.namespace, _OBSERVED, resourceVersion=str(oldest)):
        name, version = seen["metadata"]["name"], int(seen["metadata"]["resourceVersion"])
        changes[name] += event == "MODIFIED" and version > int(versions[name])
        if time.monotonic() > until:
            break
    return changes


@pytest.fixture(scope="module")
def trouble(labs: Labs, audit_log: AuditLog | None) -> Iterator[Trouble]:
    """Sessions that are stuck, each for its own reason, after a minute of it."""
    with labs() as lab, labs() as poor:
        _make(lab, poor)
        for name, reason in STUCK.items():
            (poor if name == "no-quota" else lab).reason(name, reason)
        mark = audit_log.mark() if audit_log else 0
        versions = {s["metadata"]["name"]: s["metadata"]["resourceVersion"] for s in lab.sessions()}
        before = poor.session("no-quota")["metadata"]["resourceVersion"]
        changes = _watch(lab, versions)
        changes["no-quota"] += poor.session("no-quota")["metadata"]["resourceVersion"] != before
        entries = None
        if audit_log:
            entries = audit_log.since(mark, lab.namespace) + audit_log.since(mark, poor.namespace)
        yield Trouble(lab, poor, changes, entries)


@pytest.mark.requirement("K01", "K02")
@pytest.mark.parametrize("name", STUCK)
def test_being_stuck_costs_next_to_nothing(trouble: Trouble, name: str) -> None:
    """At most two writes in a minute, by the watch and by the audit log; what is refused is not tried in a spin."""
    assert trouble.changes[name] <= _MOST_WRITES
    if trouble.entries is None:
        return
    own = [e for e in trouble.entries if e["objectRef"].get("name", "").startswith(name)]
    done = [audit.describe(e) for e in own if e["responseStatus"]["code"] < 300]
    refused = [audit.describe(e) for e in own if e["responseStatus"]["code"] >= 300]
    assert len(done) <= _MOST_WRITES, done
    assert len(refused) <= (_REFUSALS if name == "no-quota" else 0), refused


@pytest.mark.requirement("K02", "K04")
@pytest.mark.parametrize(("name", "reason"), STUCK.items())
def test_a_stuck_session_says_why_and_what_to_do(trouble: Trouble, name: str, reason: str) -> None:
    """Reason and message in the condition; what only a person can mend is Stalled."""
    found = trouble.home(name).session(name)
    ready = condition(found, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", reason)
    words = {
        "no-template": ("AgentTemplate 'absent'", "Create it"),
        "no-image": (ABSENT_IMAGE, "imagePullSecrets"),
        "no-image-in-template": (ABSENT_IMAGE, "imagePullSecrets"),
        "no-secret": ("Secret 'absent'", "Create it"),
        "no-key": ("prompt", "Add it"),
        "no-room": ("Insufficient cpu",),
        "no-quota": ("exceeded quota",),
    }[name]
    assert [w for w in words if w not in ready["message"]] == [], ready["message"]
    kind = "Reconciling" if name in ("no-room", "no-quota") else "Stalled"
    assert condition(found, kind)["status"] == "True"


@pytest.mark.requirement("K02")
@pytest.mark.parametrize("name", [name for name in STUCK if name != "no-room"])
def test_one_warning_event_tells_of_it(trouble: Trouble, name: str) -> None:
    """Once, not with every look."""
    lab = trouble.home(name)
    told = lab.api.list(EVENTS, lab.namespace, fieldSelector=f"regarding.name={name}")
    assert [(e["type"], e["reason"]) for e in told] == [("Warning", STUCK[name])]


@pytest.fixture(scope="module")
def mended(trouble: Trouble) -> Trouble:
    """All causes are mended at once: some are found out only when a node or the operator next tries by itself."""
    lab, poor, right = trouble.lab, trouble.poor, trouble.lab.images.reference("agent")
    text = manifests.prompt(say("healed"))
    lab.api.apply(manifests.template(lab.namespace, "absent"))
    lab.api.patch(SESSIONS, lab.namespace, "no-image", {"spec": {"image": right}})
    lab.api.apply(manifests.template(lab.namespace, "pictureless", image=right))
    for name in ("absent", "keyless"):
        lab.api.apply(manifests.secret(lab.namespace, name, prompt=text), force="true")
    lab.api.patch(SESSIONS, lab.namespace, "no-room", {"spec": {"resources": {"cpu": "500m"}}})
    poor.api.patch(QUOTAS, poor.namespace, "pods", {"spec": {"hard": {"pods": "5"}}})
    return trouble


@pytest.mark.requirement("K02")
def test_a_template_that_appears_heals(mended: Trouble) -> None:
    """The operator watches templates."""
    assert mended.healed("no-template")["status"]["resolved"]["template"] == "absent"


@pytest.mark.requirement("K02")
def test_an_image_that_is_corrected_in_the_session_heals(mended: Trouble) -> None:
    """The pod that waits for the wrong image is replaced."""
    assert mended.healed("no-image")["status"]["resolved"]["image"] == mended.lab.images.reference("agent")


@pytest.mark.requirement("K02")
def test_an_image_that_is_corrected_in_the_template_heals(mended: Trouble) -> None:
    """Without a touch of the session."""
    assert mended.healed("no-image-in-template")["metadata"]["generation"] == 1


@pytest.mark.requirement("K02")
def test_a_size_that_is_corrected_heals(mended: Trouble) -> None:
    """A pod that no node has room for is replaced by a smaller one."""
    assert mended.healed("no-room")["status"]["resolved"]["cpu"] == "500m"


@pytest.mark.requirement("K02")
@pytest.mark.parametrize("name", ["no-secret", "no-key"])
def test_a_secret_that_appears_heals(mended: Trouble, name: str) -> None:
    """The node tries again by itself, within two minutes; the operator has no right to see Secrets."""
    mended.healed(name)


@pytest.mark.requirement("K02")
def test_a_quota_that_is_raised_heals(mended: Trouble) -> None:
    """Nobody tells the operator; it has gone on trying, less and less often."""
    mended.healed("no-quota")
