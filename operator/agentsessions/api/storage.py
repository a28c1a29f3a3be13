"""Where conversations and workspaces are kept when no pod is there: the session store and the workspace's archive."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from agentsessions.api.base import ATOMIC, ApiModel, NamespaceName, Quantity, ResourceName, cel, rule

StoreType = Literal["Redis", "Postgres", "S3", "Embedded", "Custom"]
LabelValue = Annotated[str, Field(max_length=63)]
DEFAULT_PREFIX = "agentsessions"
DEFAULT_ARCHIVE_SIZE = "1Gi"


class LocalReference(ApiModel):
    """A reference to an object in the same namespace."""

    name: ResourceName = Field(description="Name of the object, in the same namespace.")


class EgressPeer(ApiModel):
    """A destination that the pod may reach: pods in the cluster, or an address range."""

    namespace: NamespaceName | None = Field(None, description="Namespace of the pods. Unset: the session's own.")
    pod_labels: dict[str, LabelValue] | None = Field(
        None, max_length=16, description="Labels of the pods. Unset, with `namespace`: all pods there."
    )
    cidr: str | None = Field(
        None,
        max_length=43,
        pattern=r"^[0-9a-fA-F:.]+/[0-9]{1,3}$",
        description="Address range, for example 10.0.0.0/8.",
    )
    port: int = Field(ge=1, le=65535, description="TCP port at the pods or addresses (not of a Service before them).")

    model_config = ConfigDict(
        json_schema_extra=cel(
            rule(
                "has(self.cidr) != (has(self.namespace) || has(self.podLabels))",
                "must have either `cidr`, or `namespace` and/or `podLabels`",
            )
        )
    )


EgressPeers = Annotated[list[EgressPeer], Field(max_length=32, json_schema_extra=ATOMIC)]


class S3Bucket(ApiModel):
    """A bucket at any server that speaks S3."""

    bucket: str = Field(
        min_length=3, max_length=63, pattern=r"^[a-z0-9][-a-z0-9.]*[a-z0-9]$", description="Name of the bucket."
    )
    endpoint: str | None = Field(
        None,
        max_length=2048,
        pattern=r"^https?://[^\s@]+$",
        description="URL of the server, for example http://s3.storage.svc:7070. Unset: AWS, by `region`.",
    )
    region: str = Field("us-east-1", min_length=1, max_length=64, description="Region that requests are signed for.")


class CustomStore(ApiModel):
    """A store of your own, in an agent image of your own."""

    entry_point: str = Field(
        max_length=512,
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description="`package.module:factory`. The factory is called with a StoreContext and returns a store.",
    )


class SessionStore(ApiModel):
    """Where a conversation is kept beside the pod's own disk, so that it can go on in any other pod."""

    type: StoreType = Field(
        description="Redis (or Valkey), Postgres, S3, Custom, or Embedded: the chart's own small Valkey, for trying "
        "things out (chart value `embeddedStore.enabled`)."
    )
    secret_ref: LocalReference | None = Field(
        None,
        description="Secret with the credentials, mounted by the node; the operator never reads it. Redis and "
        "Postgres: key `url`, for example rediss://user:password@host:6379/0 or postgresql://user:password@host/db. "
        "S3: keys `accessKeyId` and `secretAccessKey`. Custom: whatever the factory reads.",
    )
    s3: S3Bucket | None = Field(None, description="The bucket; required for S3.")
    custom: CustomStore | None = Field(None, description="The factory; required for Custom.")
    prefix: str = Field(
        DEFAULT_PREFIX,
        min_length=1,
        max_length=128,
        pattern=r"^[A-Za-z0-9][-A-Za-z0-9_.]*$",
        description="First part of every key, for example the tenant's name; the namespace is the second. "
        "Sessions under different prefixes or in different namespaces never see each other's conversations.",
    )
    egress: EgressPeers | None = Field(
        None, description="What the NetworkPolicy must let through so that the store can be reached."
    )
    on_delete: Literal["Retain", "Delete"] = Field(
        "Retain",
        description="What becomes of the stored conversation when the session is deleted. Retain: it stays in the "
        "store. Delete: it is removed from the store, and with it the archived workspace; a finalizer holds the "
        "session for that long.",
    )

    model_config = ConfigDict(
        json_schema_extra=cel(
            rule("(self.type == 'S3') == has(self.s3)", "`s3` must be set for S3, and only for it"),
            rule("(self.type == 'Custom') == has(self.custom)", "`custom` must be set for Custom, and only for it"),
            rule(
                "!(self.type in ['Redis', 'Postgres']) || has(self.secretRef)",
                "`secretRef` must name a Secret with the key `url`",
            ),
            rule("self.type != 'Embedded' || !has(self.secretRef)", "`secretRef` must not be set for Embedded"),
        )
    )


class WorkspaceArchive(ApiModel):
    """Keep the workspace in a bucket while no pod is there: packed at suspend, unpacked at start."""

    s3: S3Bucket = Field(description="The bucket.")
    secret_ref: LocalReference | None = Field(
        None, description="Secret with the keys `accessKeyId` and `secretAccessKey`, mounted by the node."
    )
    prefix: str = Field(
        DEFAULT_PREFIX,
        min_length=1,
        max_length=128,
        pattern=r"^[A-Za-z0-9][-A-Za-z0-9_.]*$",
        description="First part of every key; namespace and session follow.",
    )
    max_size: Quantity = Field(
        DEFAULT_ARCHIVE_SIZE,
        description="A workspace that is larger (before compression) is not packed: the session stays awake and says "
        "so.",
    )
    egress: EgressPeers | None = Field(
        None, description="What the NetworkPolicy must let through so that the bucket can be reached."
    )
