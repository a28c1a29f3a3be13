"""The operator's configuration: what holds without a word, and what is refused."""

import pytest
from pydantic import ValidationError

from agentsessions.api.base import Json
from agentsessions.api.config import BUILT_IN, OperatorConfig
from agentsessions.reconcile.longrunning.sleeping import IDLE_SECONDS


def test_an_empty_configuration_is_a_whole_one() -> None:
    config = OperatorConfig()
    assert config.to_json() == {
        "defaults": {},
        "dns": {"namespace": "kube-system", "podLabels": {"k8s-app": "kube-dns"}, "cidrs": []},
        "retryBackoff": {"baseSeconds": 10, "maxSeconds": 300},
        "admission": {
            "waking": 64,
            "perNamespace": {},
            "namespaces": {},
            "tenantLabel": "",
            "perTenant": {},
            "tenants": {},
        },
        "nodeLossSeconds": 60,
        "watchNamespaces": [],
        "gateway": {
            "enabled": False,
            "namespace": "agentsessions-system",
            "podLabels": {"app.kubernetes.io/component": "gateway"},
            "operatorLabels": {"app.kubernetes.io/component": "operator"},
            "url": "",
            "publicKeys": "",
        },
        "signingKey": {"namespace": "agentsessions-system", "name": "agentsessions-signing-key"},
        "leaderElection": {
            "enabled": False,
            "namespace": "agentsessions-system",
            "name": "agentsessions",
            "leaseSeconds": 7,
            "renewSeconds": 5,
            "retrySeconds": 1.5,
        },
        "kubernetesApi": {"qps": 200, "burst": 400},
        "embeddedStore": {
            "enabled": False,
            "host": "agentsessions-embedded-store.agentsessions-system.svc",
            "port": 6379,
            "namespace": "agentsessions-system",
            "podLabels": {"app.kubernetes.io/component": "embedded-store"},
            "passwordFile": "/var/run/agentsessions/embedded-store/password",
            "url": "",
            "secretName": "agentsessions-embedded-store",
            "makeSecret": True,
        },
        "rollout": {"paused": False, "maxUnavailable": 10, "fallbackSeconds": 30},
        "logLevel": "info",
        "concurrency": 16,
    }


def test_built_in_sizes() -> None:
    assert BUILT_IN.resources is not None
    assert BUILT_IN.resources.to_json() == {"cpu": "1", "memory": "1Gi", "ephemeralStorage": "5Gi"}


def test_what_is_built_in_bounds_time_and_turns() -> None:
    assert BUILT_IN.limits is not None
    assert BUILT_IN.limits.active_deadline_seconds == 3600
    assert BUILT_IN.agent is not None
    assert BUILT_IN.agent.max_turns == 20


def test_a_hybrid_session_falls_asleep_without_a_word() -> None:
    assert BUILT_IN.idle_timeout_seconds == IDLE_SECONDS == 900


def test_content_stays_out_of_the_log_unless_asked_for() -> None:
    assert BUILT_IN.content_logging == "Omit"


@pytest.mark.parametrize("bounds", [{"tenants": {"acme": {"running": 5}}}, {"perTenant": {"waking": 1}}])
def test_bounds_of_tenants_need_the_label_that_tells_them_apart(bounds: Json) -> None:
    with pytest.raises(ValidationError, match="tenantLabel must be set"):
        OperatorConfig.model_validate({"admission": bounds})
    given = OperatorConfig.model_validate({"admission": bounds | {"tenantLabel": "example.com/tenant"}})
    assert given.admission.tenant_label == "example.com/tenant"
