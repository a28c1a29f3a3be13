"""The older operator that runs beside the one of this checkout."""

import yaml

from agentsessions.api.config import KubernetesApi, OperatorConfig
from e2e import older
from e2e.api import Json
from faults import versions


def test_it_reads_the_releases_configuration_without_what_it_does_not_know() -> None:
    config = OperatorConfig(kubernetes_api=KubernetesApi(qps=7), concurrency=3).to_json()
    config["leaderElection"] |= {"leaseSeconds": 9}
    with older.checkout(*older.sources(older.OPERATOR)) as root:
        made = versions._settings({"data": {"config.yaml": yaml.safe_dump(config)}}, root)
    read = yaml.safe_load(made["data"]["config.yaml"])
    assert "kubernetesApi" not in read
    assert "rollout" not in read
    assert "admission" not in read
    assert read["leaderElection"]["leaseSeconds"] == 9
    assert read["concurrency"] == 3


def test_it_is_told_apart_from_the_release_and_is_one_of_its_operators() -> None:
    pod: Json = {
        "containers": [{"image": "new"}],
        "volumes": [{"configMap": {"name": "agentsessions"}}, {"emptyDir": {}}],
    }
    labels = {"app.kubernetes.io/component": "operator"}
    template = {"metadata": {"labels": labels | {"more": "x"}, "annotations": {"checksum/config": "c"}}, "spec": pod}
    made = versions._deployment({"spec": {"selector": {"matchLabels": labels}, "template": template, "replicas": 2}})
    spec = made["spec"]
    assert (made["metadata"]["name"], spec["replicas"]) == ("agentsessions-older", 1)
    assert spec["selector"]["matchLabels"].items() > labels.items()
    assert spec["template"]["metadata"]["labels"].items() >= {**spec["selector"]["matchLabels"], "more": "x"}.items()
    assert spec["template"]["spec"]["containers"][0]["image"] == "agentsessions.dev/older-operator:dev"
    assert spec["template"]["spec"]["volumes"][0]["configMap"]["name"] == "agentsessions-older"
