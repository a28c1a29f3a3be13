"""The operator's configuration file, which the Helm chart renders from its values."""

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from agentsessions.api.base import ApiModel, NamespaceName
from agentsessions.api.template import AgentOptions, Limits, Resources, TemplateFields

BUILT_IN = TemplateFields(
    image="ghcr.io/agentsessions/agent:0.1.0",
    image_pull_policy="IfNotPresent",
    agent=AgentOptions(max_turns=20),
    resources=Resources(cpu="1", memory="1Gi", ephemeral_storage="5Gi"),
    limits=Limits(active_deadline_seconds=3600),
    idle_timeout_seconds=900,
    content_logging="Omit",
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
    node_loss_seconds: int = Field(
        60, ge=0, le=86_400, description="How long after a node was found to be lost its pods are given up."
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    concurrency: int = Field(16, ge=1, le=256, description="Sessions that are reconciled at the same time.")
