"""The operator's configuration file, which the Helm chart renders from its values."""

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from agentsessions.api.agent import AgentOptions
from agentsessions.api.base import ApiModel, NamespaceName
from agentsessions.api.template import DEFAULT_DISRUPTION, Limits, Resources, TemplateFields

BUILT_IN = TemplateFields(
    image="ghcr.io/agentsessions/agent:0.1.0",
    image_pull_policy="IfNotPresent",
    agent=AgentOptions(max_turns=20),
    resources=Resources(cpu="1", memory="1Gi", ephemeral_storage="5Gi"),
    limits=Limits(active_deadline_seconds=3600),
    idle_timeout_seconds=900,
    content_logging="Omit",
    disruption=DEFAULT_DISRUPTION,
    termination_grace_period_seconds=30,
)
"""What holds when session, template and configuration are all silent (the sizes are H23's starting point)."""


class Dns(ApiModel):
    """Where the cluster's DNS pods are, for the NetworkPolicy."""

    namespace: NamespaceName = "kube-system"
    pod_labels: dict[str, str] = Field(default={"k8s-app": "kube-dns"})
    cidrs: list[str] = Field(default=[], description="Further resolvers, for example a node-local cache.")


class Backoff(ApiModel):
    """How long a failed session waits before its next attempt: base, doubled each time, up to a cap."""

    base_seconds: int = Field(10, ge=0, le=3600)
    max_seconds: int = Field(300, ge=0, le=86_400)


class Gateway(ApiModel):
    """Where calls to hosts come from, so that NetworkPolicies let them in: the gateway's pods and the operator's."""

    enabled: bool = False
    namespace: NamespaceName = "agentsessions-system"
    pod_labels: dict[str, str] = Field(default={"app.kubernetes.io/component": "gateway"})
    operator_labels: dict[str, str] = Field(default={"app.kubernetes.io/component": "operator"})
    url: str = Field("", description="Base URL of the gateway as clients know it; it stands before status.endpoint.")
    public_keys: str = Field(
        "", description="JWKS in JSON by which hosts know the control plane; the operator fills it in at its start."
    )


class SigningKey(ApiModel):
    """The Secret that holds the Ed25519 key by which hosts know the control plane; made by the operator if missing."""

    namespace: NamespaceName = "agentsessions-system"
    name: str = "agentsessions-signing-key"


class EmbeddedStore(ApiModel):
    """The chart's own small Valkey, for sessions that name a store of type Embedded.

    The operator reads the password from `password_file`, which the node fills from the Secret: at once if that was
    there before the operator's pod, within about a minute if not. With `make_secret` the operator makes the Secret
    when it is missing; by the API it can make it and never read it.
    """

    enabled: bool = False
    host: str = Field("agentsessions-embedded-store.agentsessions-system.svc", description="Name of its Service.")
    port: int = Field(6379, ge=1, le=65535)
    namespace: NamespaceName = Field("agentsessions-system", description="Namespace of its pod and its Secret.")
    pod_labels: dict[str, str] = Field(default={"app.kubernetes.io/component": "embedded-store"})
    password_file: str = "/var/run/agentsessions/embedded-store/password"
    url: str = Field("", repr=False, description="URL with the password; filled in when the file has been read.")
    secret_name: str = "agentsessions-embedded-store"
    make_secret: bool = Field(True, description="Off when the user has named a Secret, which nobody else then makes.")


class LeaderElection(ApiModel):
    """How replicas agree on the one that works: by a Lease.

    A leader that is silent for `lease_seconds` is followed by another replica; one that could not renew for
    `renew_seconds` stops by itself, before that. Each replica looks, and the leader renews, every `retry_seconds`.
    """

    enabled: bool = False
    namespace: NamespaceName = "agentsessions-system"
    name: str = "agentsessions"
    lease_seconds: int = Field(7, ge=3, le=600)
    renew_seconds: float = Field(5, ge=1, le=600)
    retry_seconds: float = Field(1.5, ge=0.1, le=60)

    @model_validator(mode="after")
    def _stops_before_others_begin(self) -> Self:
        if not self.retry_seconds < self.renew_seconds < self.lease_seconds:
            raise ValueError("leaderElection: retrySeconds must be less than renewSeconds, and that than leaseSeconds")
        return self


class KubernetesApi(ApiModel):
    """Bounds on the requests of one operator process to the Kubernetes API; those about its Lease go first."""

    model_config = ConfigDict(extra="forbid")

    qps: float = Field(200, ge=1, le=10_000, description="Requests a second, once `burst` is used up.")
    burst: int = Field(400, ge=1, le=100_000, description="Requests at once after a silence.")


class Bounds(ApiModel):
    """How many sessions of one namespace, or one tenant, may have a pod, and how many start; 0 is no bound."""

    model_config = ConfigDict(extra="forbid")

    running: int | None = Field(
        None, ge=0, le=1_000_000, description="Sessions that have a pod, starting ones included."
    )
    waking: int | None = Field(None, ge=0, le=1_000_000, description="Sessions whose pod starts.")


class Admission(ApiModel):
    """How many sessions may start, and hold, a pod of their own at the same time; the others wait in a queue.

    `waking` is for all namespaces together: it keeps a herd, as after an outage, off the API server and the nodes.
    What `namespaces` does not say of a namespace, `per_namespace` says. Namespaces whose label `tenant_label` has the
    same value are one tenant, with bounds of its own beside theirs.
    """

    model_config = ConfigDict(extra="forbid")

    waking: int = Field(64, ge=0, le=1_000_000)
    per_namespace: Bounds = Bounds()
    namespaces: dict[NamespaceName, Bounds] = Field(default={})
    tenant_label: str = Field(
        "",
        max_length=317,
        pattern=r"^(([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
        description="Label of namespaces by which they belong to a tenant; empty: there are none.",
    )
    per_tenant: Bounds = Bounds()
    tenants: dict[str, Bounds] = Field(default={})

    @model_validator(mode="after")
    def _tenants_are_known_by_a_label(self) -> Self:
        bounded = any(one.running or one.waking for one in (self.per_tenant, *self.tenants.values()))
        if bounded and not self.tenant_label:
            raise ValueError("admission: tenantLabel must be set where perTenant or tenants has bounds")
        return self


class Rollout(ApiModel):
    """How sessions with a pod of their own go over to another agent image, between turns.

    At most `max_unavailable` are put away at the same time; with `paused` none is, and each changes when it next wakes.
    An image that cannot be pulled is given up for the former one after `fallback_seconds`.
    """

    model_config = ConfigDict(extra="forbid")

    paused: bool = False
    max_unavailable: int = Field(10, ge=1, le=1_000_000)
    fallback_seconds: int = Field(30, ge=0, le=86_400)


class OperatorConfig(ApiModel):
    """Everything that the operator is told at start."""

    model_config = ConfigDict(extra="forbid")

    defaults: TemplateFields = TemplateFields()
    dns: Dns = Dns()
    retry_backoff: Backoff = Backoff()
    watch_namespaces: list[NamespaceName] = Field(default=[], description="Empty: all namespaces.")
    gateway: Gateway = Gateway()
    signing_key: SigningKey = SigningKey()
    embedded_store: EmbeddedStore = EmbeddedStore()
    leader_election: LeaderElection = LeaderElection()
    kubernetes_api: KubernetesApi = KubernetesApi()
    admission: Admission = Admission()
    rollout: Rollout = Rollout()
    node_loss_seconds: int = Field(
        60, ge=0, le=86_400, description="How long after a node was found to be lost its pods are given up."
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    concurrency: int = Field(16, ge=1, le=256, description="Sessions that are reconciled at the same time.")
