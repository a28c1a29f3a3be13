"""Brings the cluster to where tests start: images on the nodes, operator by its chart, stand-in for the model."""

import os
from pathlib import Path

import yaml

from cluster import Provider
from demo import model
from demo.images import Images
from demo.install import gateway
from e2e.api import DEPLOYMENTS, Api, Json
from e2e.operator_pod import NAMESPACE, RELEASE, Operator, is_rolled_out
from e2e.terminal import Terminal
from e2e.waiting import wait_for
from images.build import build_archives
from images.catalog import TESTED

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "agentsessions"
OWN_PREFIX = "agentsessions.dev"
REGISTRY = "AGENTSESSIONS_REGISTRY"
BASE_URL = "http://model.model-standin.svc.cluster.local"
BOUNDED = "e2e-bounded"
"""A namespace that may have two sessions with a pod, and one that starts."""

TENANT_LABEL, TENANT = "e2e.agentsessions.dev/tenant", "acme"
"""Label and name of a tenant that may have one session with a pod."""

CHART_MAX_TURNS = 12
"""Set in the chart's defaults by the tests, to be told apart from what is built in."""

_VERSION = "agentsessions.dev/image-version"


def build_images() -> Images:
    """Build what has changed of all images that tests run; raises ImageError."""
    archives = dict(zip(TESTED, build_archives(TESTED), strict=True))
    return Images(archives, os.environ.get(REGISTRY, "").rstrip("/") or OWN_PREFIX)


def provide(provider: Provider, images: Images) -> None:
    """Make the cluster and put the images on its nodes; raises ClusterError where that cannot be done."""
    provider.up()
    provider.load_images(list(images.archives.values()))


def values(images: Images) -> Json:
    """Return the chart's values for tests: our images, the stand-in as model, short waits between attempts."""
    peer = {"namespace": model.STAND_IN_NAMESPACE, "podLabels": {"app": "model-standin"}, "port": 8080}
    return {
        "image": {"repository": images.repository("operator"), "tag": images.tag},
        # One, so that tests can speak of the operator's log, metrics and end; test_leadership has two.
        "replicas": 1,
        "agentImage": {"repository": images.repository("agent"), "tag": images.tag},
        "podAnnotations": {_VERSION: images.version("operator")},
        "gateway": gateway(images),
        "embeddedStore": {
            "enabled": True,
            "image": {"repository": images.repository("stores"), "tag": images.tag},
            "podAnnotations": {_VERSION: images.version("stores")},
        },
        "defaults": {
            "modelEndpoint": {"baseUrl": BASE_URL, "egress": [peer]},
            "agent": {"maxTurns": CHART_MAX_TURNS},
        },
        "retryBackoff": {"baseSeconds": 1, "maxSeconds": 5},
        "nodeLossSeconds": 10,
        "admission": {
            "namespaces": {BOUNDED: {"running": 2, "waking": 1}},
            "tenantLabel": TENANT_LABEL,
            "tenants": {TENANT: {"running": 1}},
        },
    }


def install_operator(terminal: Terminal, operator: Operator, chosen: Json) -> None:
    """Install or upgrade the release and wait until its one operator is ready."""
    upgrade(terminal, chosen)
    operator.wait_ready()


def upgrade(terminal: Terminal, chosen: Json, chart: Path = CHART) -> None:
    """Install or upgrade the release, and wait until Helm says that it is there."""
    # Tests that have scaled something own its `replicas` since, and Helm asks before it takes them back.
    taken = ("--force-conflicts", "--wait", "--timeout", "3m")
    words = ("--namespace", NAMESPACE, "--create-namespace", *taken, "--values", "-")
    terminal.helm("upgrade", "--install", RELEASE, str(chart), *words, stdin=yaml.safe_dump(chosen))


def install_stand_in(terminal: Terminal, api: Api, images: Images) -> None:
    """Deploy the model stand-in and wait until it answers; a new image replaces a running one."""
    manifests = model.stand_in(images.reference("standin"), images.version("standin"))
    # Faults that were ended with their process may have left it bound to a node.
    terminal.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifests)
    wait_for(api, DEPLOYMENTS, model.STAND_IN_NAMESPACE, "model", is_rolled_out, "the stand-in's rollout")
