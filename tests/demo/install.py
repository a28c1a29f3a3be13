"""Installing what the demo needs into the cluster: the operator by its Helm chart, and the model's end."""

from pathlib import Path

import yaml

from demo import model
from demo.errors import DemoError
from demo.images import Images
from demo.model import Model
from demo.programs import Json, Program

CHART = Path(__file__).resolve().parents[2] / "charts" / "agentsessions"
RELEASE = "agentsessions"
SYSTEM = "agentsessions-system"
_VERSION = "agentsessions.dev/image-version"


def namespace(name: str) -> str:
    """Return a namespace in which Kubernetes itself refuses every pod that is not locked down."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})


def values(images: Images, answering: Model) -> Json:
    """Return the chart's values for the demo: our images, the model, and a pod log that shows what the agent says."""
    chosen = model.helm_values(answering)
    return {
        **chosen,
        "image": {"repository": images.repository("operator"), "tag": images.tag},
        "agentImage": {"repository": images.repository("agent"), "tag": images.tag},
        "podAnnotations": {_VERSION: images.version("operator")},
        "gateway": gateway(images),
        "defaults": {**chosen.get("defaults", {}), "contentLogging": "Include"},
    }


def gateway(images: Images) -> Json:
    """Return the chart's values for the gateway: our images, and little time to drain."""
    version = {f"{_VERSION}-{name}": images.version(name) for name in ("operator", "envoy")}
    return {
        "image": {"repository": images.repository("envoy"), "tag": images.tag},
        "podAnnotations": version,
        "drainSeconds": 5,
    }


def install_operator(kubectl: Program, helm: Program, chosen: Json, answering: Model) -> None:
    """Install or upgrade the release and wait until the operator is ready; raises DemoError."""
    kubectl.run("apply", "--server-side", "--filename=-", stdin=namespace(SYSTEM))
    if answering.is_real:
        # Server-side, because a client-side apply would copy the key into an annotation.
        kubectl.run("apply", "--server-side", "--filename=-", stdin=model.key_secret(answering, SYSTEM))
    _clear_half_installed(helm)
    words = ["upgrade", "--install", RELEASE, str(CHART), f"--namespace={SYSTEM}", "--wait", "--timeout=5m"]
    try:
        helm.run(*words, "--values=-", stdin=yaml.safe_dump(chosen))
    except DemoError as error:
        pods = kubectl.run("get", "pods", f"--namespace={SYSTEM}", "--output=wide")
        raise DemoError(f"{error}\nThe pods of the release:\n{pods}") from None


def install_stand_in(kubectl: Program, images: Images) -> None:
    """Start the stand-in and wait until it answers; raises DemoError."""
    manifests = model.stand_in(images.reference("standin"), images.version("standin"))
    kubectl.run("apply", "--server-side", "--force-conflicts", "--filename=-", stdin=manifests)
    kubectl.run("rollout", "status", "deployment/model", f"--namespace={model.STAND_IN_NAMESPACE}", "--timeout=3m")


def _clear_half_installed(helm: Program) -> None:
    """Remove a release whose first installation was interrupted: Helm would refuse to touch it for ever."""
    releases = helm.run("list", f"--namespace={SYSTEM}", "--pending", "--output=json") or "[]"
    for release in yaml.safe_load(releases):
        if release["name"] == RELEASE:
            helm.run("uninstall", RELEASE, f"--namespace={SYSTEM}", "--wait")
