"""The rendered config.yaml is what the operator reads, with the defaults that the project promises."""

from typing import Any

import pytest
import yaml

from agentsessions.api.config import BUILT_IN, OperatorConfig
from agentsessions.directory.config import DirectoryConfig
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
    for field in ("dns", "retry_backoff", "watch_namespaces", "log_level", "concurrency", "kubernetes_api"):
        assert getattr(chart, field) == getattr(model, field), field


@pytest.mark.requirement("K01", "K02")
def test_any_number_of_operators_has_a_lease_and_one_alone_is_patient() -> None:
    pair, alone = config().leader_election, config({"replicas": 1}).leader_election
    assert pair == OperatorConfig().leader_election.model_copy(
        update={"enabled": True, "name": FULLNAME, "namespace": helm.NAMESPACE}
    )
    assert (alone.enabled, alone.name, alone.namespace) == (True, pair.name, pair.namespace)
    assert (alone.lease_seconds, alone.renew_seconds, alone.retry_seconds) == (15, 10, 2)
    quick = {"leaseSeconds": 4, "renewSeconds": 3, "retrySeconds": 1}
    assert config({"leaderElection": quick}).leader_election.lease_seconds == 4


def test_the_rate_of_requests_is_the_users_choice() -> None:
    assert config({"kubernetesApi": {"qps": 20}}).kubernetes_api.qps == 20


def test_what_rollouts_may_do_reaches_the_operator() -> None:
    assert config().rollout == OperatorConfig().rollout
    chosen = config({"rollout": {"paused": True, "maxUnavailable": 2}}).rollout
    assert (chosen.paused, chosen.max_unavailable, chosen.fallback_seconds) == (True, 2, 30)


def test_bounds_reach_the_operator_and_those_of_a_namespace_change_what_they_name() -> None:
    assert config().admission.waking == OperatorConfig().admission.waking == 64
    own = {"team-a": {"running": 50}, "team-b": {"waking": 0}}
    bounds = config({"admission": {"perNamespace": {"waking": 8}, "namespaces": own}}).admission
    assert (bounds.waking, bounds.per_namespace.running, bounds.per_namespace.waking) == (64, 0, 8)
    assert (bounds.namespaces["team-a"].running, bounds.namespaces["team-a"].waking) == (50, None)
    assert bounds.namespaces["team-b"].waking == 0


def test_how_long_sleeping_sessions_are_kept_may_be_a_default() -> None:
    assert config().defaults.ttl_seconds_after_idle is None
    assert config({"defaults": {"ttlSecondsAfterIdle": 7_776_000}}).defaults.ttl_seconds_after_idle == 7_776_000


def test_bounds_of_tenants_reach_the_operator() -> None:
    assert config().admission.tenant_label == ""
    given = {"tenantLabel": "example.com/tenant", "perTenant": {"running": 9}, "tenants": {"acme": {"waking": 2}}}
    bounds = config({"admission": given}).admission
    assert (bounds.tenant_label, bounds.per_tenant.running, bounds.tenants["acme"].waking) == (
        "example.com/tenant",
        9,
        2,
    )


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


@pytest.mark.requirement("H24")
def test_the_operator_lets_the_pods_of_this_gateway_and_its_own_in_to_agents() -> None:
    manifests, gateway = helm.template(), config().gateway
    assert gateway.namespace == helm.NAMESPACE
    for name, labels in ((f"{FULLNAME}-gateway", gateway.pod_labels), (FULLNAME, gateway.operator_labels)):
        assert labels == helm.named(manifests, "Deployment", name)["spec"]["selector"]["matchLabels"]


def test_the_gateways_switch_and_its_public_url_reach_the_operator() -> None:
    assert config().gateway.enabled
    assert not config({"gateway": {"enabled": False}}).gateway.enabled
    assert config({"gateway": {"url": "https://agents.example.com"}}).gateway.url == "https://agents.example.com"


def test_operator_role_and_gateway_mean_the_same_signing_key() -> None:
    manifests, key = helm.template(), config().signing_key
    role = helm.named(manifests, "Role", key.name)
    assert role["metadata"]["namespace"] == key.namespace == helm.NAMESPACE
    pod = helm.named(manifests, "Deployment", f"{FULLNAME}-gateway")["spec"]["template"]["spec"]
    assert key.name in [volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume]


def directory(values: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the directory's configuration as it is mounted."""
    files = helm.named(helm.template(values), "ConfigMap", f"{FULLNAME}-gateway")["data"]
    document: dict[str, Any] = yaml.safe_load(files["directory.yaml"])
    return document


def test_the_directorys_file_says_all_but_where_the_key_is_mounted() -> None:
    known = {field.alias for field in DirectoryConfig.model_fields.values()}
    assert set(directory()) == known - {"keyDirectory"}


def test_the_directorys_defaults_of_the_chart_are_those_of_the_model() -> None:
    assert DirectoryConfig.model_validate(directory()) == DirectoryConfig()


def test_the_directory_finds_the_key_where_it_is_mounted() -> None:
    spec = helm.named(helm.template(), "Deployment", f"{FULLNAME}-gateway")["spec"]["template"]["spec"]
    mounts = [mount for one in spec["containers"] for mount in one["volumeMounts"] if mount["name"] == "signing-key"]
    assert [mount["mountPath"] for mount in mounts] == [DirectoryConfig().key_directory]


def test_every_value_for_the_directory_reaches_it() -> None:
    cookbook = {"namespace": "team-a", "pool": "chat", "hosts": [{"host": "h", "namespace": "team-b", "pool": "c"}]}
    claims = {"usernameClaim": "u", "usernamePrefix": "p:", "groupsClaim": "g", "groupsPrefix": "q:"}
    provider = {"issuer": "https://id.example.com", "jwksUri": "https://id.example.com/keys"}
    numbers = {"holdSeconds": 1, "reviewCacheSeconds": 2, "maxHeldRequests": 3, "maxHeldRequestsPerSession": 4}
    gateway = numbers | {"audiences": ["a"], "cookbook": cookbook, "oidc": {"enabled": True} | claims | provider}
    assert directory({"gateway": gateway, "watchNamespaces": ["team-a"], "logLevel": "debug"}) == {
        "watchNamespaces": ["team-a"],
        "logLevel": "debug",
        "audiences": ["a"],
        "holdSeconds": 1,
        "reviewCacheSeconds": 2,
        "maxHeld": 3,
        "maxHeldPerSession": 4,
        "cookbook": cookbook,
        "oidc": {"enabled": True} | claims,
    }


@pytest.mark.requirement("K03", "H37")
def test_envoy_has_no_opinion_on_where_a_session_is() -> None:
    """No hash of its own, no balancing, no host that it was not given with the very request."""
    files = helm.named(helm.template(), "ConfigMap", f"{FULLNAME}-gateway")["data"]
    assert "hash_policy" not in files["envoy.yaml"]
    clusters = {one["name"]: one for one in yaml.safe_load(files["envoy.yaml"])["static_resources"]["clusters"]}
    assert {name for name, one in clusters.items() if "lb_policy" in one} == {"hosts"}
    hosts = clusters["hosts"]
    assert (hosts["type"], hosts["lb_policy"]) == ("ORIGINAL_DST", "CLUSTER_PROVIDED")
    # Dynamic metadata, which no client can write; a header could be.
    assert set(hosts["original_dst_lb_config"]) == {"metadata_key"}


@pytest.mark.requirement("H25")
def test_no_clock_of_envoys_ends_a_stream_that_lives() -> None:
    """Hosts send a sign of life every 15 seconds; Envoy's patience with silence is far longer than that."""
    files = helm.named(helm.template(), "ConfigMap", f"{FULLNAME}-gateway")["data"]
    (listener,) = [
        one for one in yaml.safe_load(files["envoy.yaml"])["static_resources"]["listeners"] if one["name"] == "clients"
    ]
    connections = listener["filter_chains"][0]["filters"][0]["typed_config"]
    routes = [one["route"] for one in connections["route_config"]["virtual_hosts"][0]["routes"] if "route" in one]
    assert {route["timeout"] for route in routes} == {"0s"}
    assert {route["idle_timeout"] for route in routes} == {connections["stream_idle_timeout"]} == {"3600s"}
    assert not {"max_stream_duration", "request_timeout"} & set(connections)
    # What was sent is not sent again.
    assert {route["retry_policy"]["retry_on"] for route in routes} == {"connect-failure"}


@pytest.mark.parametrize("changed", [{"holdSeconds": 5}, {"trustedHops": 1}], ids=["directory", "envoy"])
def test_a_changed_configuration_replaces_the_gateways(changed: dict[str, Any]) -> None:
    def checksum(values: dict[str, Any]) -> str:
        pod = helm.named(helm.template(values), "Deployment", f"{FULLNAME}-gateway")["spec"]["template"]
        return str(pod["metadata"]["annotations"]["checksum/config"])

    assert checksum({}) == checksum({"gateway": {"replicas": 3}})
    assert checksum({}) != checksum({"gateway": changed})


def test_a_changed_configuration_restarts_the_operator() -> None:
    def checksum(values: dict[str, Any]) -> str:
        pod = helm.named(helm.template(values), "Deployment", FULLNAME)["spec"]["template"]
        return str(pod["metadata"]["annotations"]["checksum/config"])

    assert checksum({}) == checksum({"image": {"tag": "other"}})
    assert checksum({}) != checksum({"defaults": {"agent": {"model": "other"}}})
