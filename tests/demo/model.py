"""Where the demo's agent sends its model calls: to the stand-in, or with a key through the chart's egress proxy."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from demo.programs import MODEL_KEY, Json

STAND_IN_NAMESPACE = "model-standin"
STAND_IN = Path(__file__).with_name("standin.yaml")
KEY_SECRET = "model-key"
_LABEL_OF_STAND_IN = {"app": "model-standin"}
_NO_WAY_OUT = (
    f"{MODEL_KEY} is set, but this cluster has no route out of the machine by design: the stand-in answers instead."
)


@dataclass(frozen=True, slots=True)
class Model:
    """Who answers: `key` is empty for the stand-in; `note` is what the person is told."""

    key: str
    note: str

    @property
    def is_real(self) -> bool:
        """Whether model calls leave the cluster and cost money."""
        return bool(self.key)


def choose(provider: str, key: str) -> Model:
    """Return who answers in a cluster of this provider, given the key (empty: none)."""
    if not key:
        return Model(
            "", f"a stand-in inside the cluster: scripted answers, no key, no cost. Set {MODEL_KEY} for a real one"
        )
    if provider == "local":
        return Model("", _NO_WAY_OUT)
    return Model(key, "the Anthropic API through the chart's egress proxy, with your key: this costs a few cents")


def helm_values(model: Model) -> Json:
    """Return the chart values that point agents at the model."""
    if model.is_real:
        return {"egress": {"enabled": True, "replicas": 1, "credential": {"secretRef": {"name": KEY_SECRET}}}}
    peer = {"namespace": STAND_IN_NAMESPACE, "podLabels": _LABEL_OF_STAND_IN, "port": 8080}
    url = f"http://model.{STAND_IN_NAMESPACE}.svc.cluster.local"
    return {"defaults": {"modelEndpoint": {"baseUrl": url, "egress": [peer]}}}


def key_secret(model: Model, namespace: str) -> str:
    """Return the Secret that holds the key, for kubectl's stdin."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": KEY_SECRET, "namespace": namespace},
        "stringData": {"api-key": model.key},
    }
    return yaml.safe_dump(secret)


def stand_in(image: str, version: str) -> str:
    """Return the stand-in's manifests, with its image and a mark that changes with the image's content."""
    manifests = list(yaml.safe_load_all(STAND_IN.read_text()))
    for manifest in manifests:
        if manifest["kind"] == "Deployment":
            pod = manifest["spec"]["template"]
            pod["metadata"]["annotations"] = {"agentsessions.dev/image-version": version}
            pod["spec"]["containers"][0]["image"] = image
    return yaml.safe_dump_all(manifests)
