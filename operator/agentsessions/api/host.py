"""What passes between the control plane and a session host: documents, states and the claims of its tokens.

The host keeps the truth about its sessions; the operator and the gateway's directory follow it by `GET /events`.
"""

from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

from pydantic import Field

from agentsessions.api.agent import AgentOptions
from agentsessions.api.base import ApiModel, Json
from agentsessions.api.bounds import Limit, SessionLimits
from agentsessions.api.status import Archive, Transcript, Usage
from agentsessions.api.storage import CustomStore, S3Bucket, StoreType

PORT = 8000
START_SECONDS = 120
"""How long a host may take to start before its node ends it: where many start at a time, each takes a minute."""
PROVES_CLI = "AGENTSESSIONS_PROVE_CLI"
"""Variable of a host that starts its CLI once before it is ready, and ends if it cannot."""
EXIT_CLI = 3
"""Exit code of a host whose CLI does not start."""
TOKEN_HEADER = "X-Agentsessions-Token"
ISSUER = "agentsessions.dev"
ALGORITHM = "EdDSA"
MAX_TOKEN_SECONDS = 120
"""A token for a host lives no longer than this; hosts refuse longer ones."""

PROBLEM_PREFIX = "https://agentsessions.dev/problems/"
"""Start of the `type` of every error (RFC 9457)."""


class Scope(StrEnum):
    """What a token allows its bearer at the host that it names in `aud` (the pod's uid).

    HOST: everything, for the operator. SESSION: the session in `sub`. IMPLICIT: the same, and the session may be
    made if the host does not have it. PORTS: the session's own port in the claim `port`, nothing else. WATCH: to follow
    the host's events.
    """

    HOST = "host"
    SESSION = "session"
    IMPLICIT = "implicit"
    PORTS = "ports"
    WATCH = "watch"


class Origin(StrEnum):
    """Whether a session has a resource, or came to be by its first message."""

    NAMED = "Named"
    IMPLICIT = "Implicit"


class SessionSettings(ApiModel):
    """How a session on a host is run."""

    agent: AgentOptions = AgentOptions()
    limits: SessionLimits = SessionLimits()
    content_logging: Literal["Omit", "Include"] = "Omit"


class StoreSettings(ApiModel):
    """The session store as a host opens it.

    `secrets` is a directory with one file for each key of the Secret, for example `url`; it may be missing. All that
    the host writes is under `prefix`, which ends with the namespace.
    """

    type: StoreType
    prefix: str
    secrets: str
    s3: S3Bucket | None = None
    custom: CustomStore | None = None


class ArchiveSettings(ApiModel):
    """The bucket for workspaces as a host opens it; `max_bytes` bounds what is packed."""

    s3: S3Bucket
    prefix: str
    secrets: str
    max_bytes: int


class HostDocument(ApiModel):
    """host.json: how a host of many sessions is set up. `implicit` is None where sessions need a resource.

    `pool` and `pool_uid` are those of the session itself where the host is the pod of one session.
    """

    version: Literal[1]
    namespace: str
    pool: str
    pool_uid: str
    sessions_per_host: int = Field(ge=1)
    max_queued_messages: int = Field(8, ge=0)
    implicit: SessionSettings | None = None
    store: StoreSettings | None = None
    archive: ArchiveSettings | None = None


class Activation(ApiModel):
    """Body of `PUT /sessions/{id}`: give a session to a host, or change how it is run from its next turn on.

    `usage` and `transcript` are what is known of it so far; a host that finds no transcript where there was one
    answers by `on_missing_transcript`. `epoch` grows whenever another pod is given the session: by it the session store
    knows whose writes count. None: there is no store, or the session has no resource. `on_delete` says whether what is
    stored of it outlives its resource.
    """

    version: Literal[1]
    session_id: UUID
    namespace: str
    name: str
    settings: SessionSettings = SessionSettings()
    usage: Usage | None = None
    transcript: Transcript | None = None
    epoch: int | None = Field(None, ge=1)
    on_missing_transcript: Literal["Fail", "StartFresh"] = "Fail"
    on_interrupted_turn: Literal["Report", "Continue"] = "Report"
    on_delete: Literal["Retain", "Delete"] = "Retain"
    fork_from: UUID | None = Field(None, description="Session to begin with a copy of, if there is nothing of its own.")


class Phase(StrEnum):
    """Where a session on a host stands. Idle: its CLI waits for a message. Suspended: it has no CLI."""

    STARTING = "Starting"
    IDLE = "Idle"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    FAILED = "Failed"


class Beginning(StrEnum):
    """With what a session began on this host.

    FRESH: nothing, being new. FORKED: a copy of another's conversation. RESUMED: its conversation so far.
    LOST: nothing, although there had been a conversation. TRUNCATED: less of it than there had been. DIVERGED: another
    one than there had been.
    """

    FRESH = "Fresh"
    FORKED = "Forked"
    RESUMED = "Resumed"
    LOST = "Lost"
    TRUNCATED = "Truncated"
    DIVERGED = "Diverged"


AGENT_OOM_KILLED = "AgentOomKilled"
AGENT_DEATHS = frozenset({"AgentCrashed", "AgentNotStarted", AGENT_OOM_KILLED})
"""Faults by which a host says that a session's `claude` process ended by itself, or did not start."""


class SessionFault(ApiModel):
    """What is wrong with a session on a host."""

    reason: str
    message: str
    time: datetime
    exit_code: int | None = Field(
        None, description="Of the agent's process, if it ended by itself; 128 + n by signal n."
    )


class HostSession(ApiModel):
    """A session as its host sees it."""

    session_id: UUID
    namespace: str
    name: str
    origin: Origin = Origin.NAMED
    phase: Phase
    beginning: Beginning = Beginning.FRESH
    prompts: int = Field(0, description="Messages that were answered or are being answered, over the session's life.")
    queued: int = 0
    streams: int = Field(0, description="Clients that follow the session now.")
    pid: int | None = None
    rss_bytes: int | None = None
    cpu_seconds: float | None = None
    restarts: int = Field(0, description="CLI processes that followed the first one on this host.")
    usage: Usage = Usage()
    transcript: Transcript | None = None
    last_activity_time: datetime | None = None
    idle_since: datetime | None = Field(
        None, description="Since when nothing runs or waits, nobody follows, and nothing works in the background."
    )
    interrupted: bool = Field(False, description="The last turn before this beginning was cut and not continued.")
    durable: bool | None = Field(
        None, description="Whether the session store has all of the transcript; None: no store."
    )
    store_problem: str | None = Field(None, description="Why it has not, in a CamelCase word.")
    store_repairs: int = Field(0, description="How often the store had lost something and got it back from the disk.")
    oom_kills: int | None = Field(
        None,
        description="Processes that were killed for want of memory since the host began; None where several sessions "
        "share the container, since nobody knows whose they were.",
    )
    put_away: bool = Field(False, description="Conversation and workspace are stored, and no message is taken.")
    stopped_at_work: bool = Field(False, description="Its host stops, and ended a turn for that.")
    archive: Archive | None = None
    limit: Limit | None = Field(None, description="The bound that it has reached; it takes no message.")
    fault: SessionFault | None = Field(None, description="What is wrong now; over with the next turn that ends.")
    death: SessionFault | None = Field(
        None, description="How the agent's process last ended by itself on this host; it stays when a turn follows."
    )


class HostSnapshot(ApiModel):
    """All that a host knows of itself: body of `GET /sessions`, and of the first event of `GET /events`."""

    pod_uid: str = Field(alias="podUID")
    incarnation: str = Field(description="Changes whenever the host's process starts.")
    capacity: int
    draining: bool = False
    sessions: list[HostSession] = Field(default_factory=list)


class HostEvent(StrEnum):
    """Events of `GET /events`: SNAPSHOT first, then SESSION (HostSession), REMOVED (`sessionId`), HOST (`draining`)."""

    SNAPSHOT = "snapshot"
    SESSION = "session"
    REMOVED = "removed"
    HOST = "host"


def problem(slug: str, title: str, status: int, detail: str) -> Json:
    """Return the body of an error, as application/problem+json (RFC 9457)."""
    return {"type": PROBLEM_PREFIX + slug, "title": title, "status": status, "detail": detail}
