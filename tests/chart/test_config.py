"""The rendered config.yaml is what the operator reads, with the defaults that the project promises."""

from typing import Any

import pytest
import yaml

from agentsessions.api.config import BUILT_IN, OperatorConfig
from chart import helm

FULLNAME = f"{helm.RELEASE}-agentsessions"


def rendered(values: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the operator's configuration as it is mounted."""
    document: dict[str, Any] = yaml.safe_load(
        helm.named(helm.template(values), "ConfigMap", FULLNAME)["data"]["config.yaml"]
    )
    return document


def config(values: dict[str, Any] | None = None) -> OperatorConfig:
    """Return the configuration as the operator parses it; unknown keys are an error there."""
    return OperatorConfig.model_validate(rendered(values))


def test_every_key_of_the_file_is_one_that_the_operator_knows() -> None:
    known = {field.alias for field in OperatorConfig.model_fields.values()}
    assert set(rendered()) == known


@pytest.mark.requirement("H23", "H50")
def test_the_defaults_of_the_chart_are_the_built_in_ones() -> None:
    defaults = config().defaults
    assert defaults.resources == BUILT_IN.resources
    assert defaults.agent == BUILT_IN.agent
    assert defaults.limits == BUILT_IN.limits
    assert defaults.image == BUILT_IN.image


def test_the_rest_of_the_defaults_equals_that_of_the_model() -> None:
    chart, model = config(), OperatorConfig()
    for field in ("dns", "retry_backoff", "watch_namespaces", "log_level", "concurrency"):
        assert getattr(chart, field) == getattr(model, field), field


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ({"agentImage": {"repository": "r/a", "tag": "dev"}}, "r/a:dev"),
        ({"agentImage": {"repository": "r/a", "digest": "sha256:" + "a" * 64}}, "r/a@sha256:" + "a" * 64),
        ({"agentImage": {"tag": "dev"}, "defaults": {"image": "other/agent:1"}}, "other/agent:1"),
    ],
)
def test_the_agent_image_comes_from_its_own_values_or_whole(values: dict[str, Any], image: str) -> None:
    assert config(values).defaults.image == image


def test_without_egress_there_is_no_model_endpoint() -> None:
    assert rendered()["defaults"]["modelEndpoint"] == {}


@pytest.mark.requirement("H33")
def test_the_egress_proxy_becomes_the_model_endpoint() -> None:
    manifests = helm.template(helm.with_egress())
    endpoint = config(helm.with_egress()).defaults.model_endpoint
    service = helm.named(manifests, "Service", f"{FULLNAME}-egress")
    assert endpoint is not None
    assert endpoint.base_url == f"http://{service['metadata']['name']}.{helm.NAMESPACE}.svc:8080"
    assert endpoint.egress is not None
    (peer,) = endpoint.egress
    pods = helm.named(manifests, "Deployment", f"{FULLNAME}-egress")["spec"]["template"]
    assert peer.namespace == helm.NAMESPACE
    assert peer.pod_labels is not None
    assert peer.pod_labels.items() <= pods["metadata"]["labels"].items()
    assert peer.port in [port["containerPort"] for port in pods["spec"]["containers"][0]["ports"]]


def test_an_endpoint_of_the_values_wins_over_the_egress_proxy() -> None:
    mine = {"baseUrl": "http://model.example.com"}
    values = helm.with_egress() | {"defaults": {"modelEndpoint": mine}}
    assert rendered(values)["defaults"]["modelEndpoint"] == mine


def test_a_changed_configuration_restarts_the_operator() -> None:
    def checksum(values: dict[str, Any]) -> str:
        pod = helm.named(helm.template(values), "Deployment", FULLNAME)["spec"]["template"]
        return str(pod["metadata"]["annotations"]["checksum/config"])

    assert checksum({}) == checksum({"image": {"tag": "other"}})
    assert checksum({}) != checksum({"defaults": {"agent": {"model": "other"}}})
