"""Condition types and reasons, and the table that says which conditions a state has.

The table is kstatus-compatible (https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus):
Reconciling=True means in progress, Stalled=True means failed, Ready=True means current.
Reconciling and Stalled are abnormal-true: they are absent when there is nothing to say, and never both True.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from agentsessions.api.status import Condition, ConditionStatus

MAX_MESSAGE = 1024


class ConditionType(StrEnum):
    """Types of conditions that a session or a pool can have."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    ACTIVE = "Active"
    SUCCEEDED = "Succeeded"
    RESUMED = "Resumed"
    TRANSCRIPT_DURABLE = "TranscriptDurable"
    PROGRESSING = "Progressing"


class Reason(StrEnum):
    """Reasons of conditions; one word each, documented in docs/troubleshooting.md."""

    QUEUED = "Queued"
    STARTING = "Starting"
    RUNNING = "Running"
    COMPLETED = "Completed"
    BACK_OFF = "BackOff"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    SECRET_NOT_FOUND = "SecretNotFound"
    VOLUME_NOT_READY = "VolumeNotReady"
    START_FAILED = "StartFailed"
    QUOTA_EXCEEDED = "QuotaExceeded"
    POD_REJECTED = "PodRejected"
    POD_CONFLICT = "PodConflict"
    CHANGE_REFUSED = "ChangeRefused"
    TEMPLATE_NOT_FOUND = "TemplateNotFound"
    INVALID_SPEC = "InvalidSpec"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    START_DEADLINE_EXCEEDED = "StartDeadlineExceeded"
    OOM_KILLED = "OOMKilled"
    EPHEMERAL_STORAGE_EXCEEDED = "EphemeralStorageExceeded"
    EVICTED = "Evicted"
    NODE_LOST = "NodeLost"
    POD_DELETED = "PodDeleted"
    POD_STOPPED = "PodStopped"
    AGENT_FAILED = "AgentFailed"
    INTERRUPTED = "Interrupted"
    POOL_NOT_FOUND = "PoolNotFound"
    POOL_FULL = "PoolFull"
    HOST_NOT_READY = "HostNotReady"
    HOST_UNREACHABLE = "HostUnreachable"
    ACTIVATION_REFUSED = "ActivationRefused"
    CLI_FAILED = "CLIFailed"
    TRANSCRIPT_MISSING = "TranscriptMissing"
    TRANSCRIPT_FOUND = "TranscriptFound"
    TRANSCRIPT_TRUNCATED = "TranscriptTruncated"
    TRANSCRIPT_DIVERGED = "TranscriptDiverged"
    TRANSCRIPT_STORED = "TranscriptStored"
    STORE_REQUIRED = "StoreRequired"
    STORE_UNREACHABLE = "StoreUnreachable"
    STORE_REFUSED = "StoreRefused"
    STORE_BEHIND = "StoreBehind"
    ARCHIVE_FAILED = "ArchiveFailed"
    FORK_SOURCE_NOT_FOUND = "ForkSourceNotFound"
    TURN_INTERRUPTED = "TurnInterrupted"
    TURN_DEADLINE_EXCEEDED = "TurnDeadlineExceeded"
    TURN_LIMIT_REACHED = "TurnLimitReached"
    AGE_LIMIT_REACHED = "AgeLimitReached"
    WAKING = "Waking"
    ASLEEP = "Asleep"
    SUSPENDED = "Suspended"
    EXPIRED = "Expired"
    FORGETTING = "Forgetting"
    CONVERSATION_KEPT = "ConversationKept"
    NO_READY_HOST = "NoReadyHost"
    HOST_LOST = "HostLost"
    HOST_CRASHED = "HostCrashed"
    PROBE_FAILED = "ProbeFailed"
    BACKOFF_LIMIT_EXCEEDED = "BackoffLimitExceeded"
    ROLLING_OUT = "RollingOut"
    ROLLOUT_PAUSED = "RolloutPaused"
    ROLLED_BACK = "RolledBack"
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    AVAILABLE = "Available"


WOKEN_IN_VAIN = frozenset(
    {
        Reason.TRANSCRIPT_MISSING,
        Reason.TRANSCRIPT_TRUNCATED,
        Reason.TRANSCRIPT_DIVERGED,
        Reason.STORE_REFUSED,
        Reason.ARCHIVE_FAILED,
        Reason.ACTIVATION_REFUSED,
        Reason.START_DEADLINE_EXCEEDED,
        Reason.BACKOFF_LIMIT_EXCEEDED,
    }
)
"""Reasons of Stalled of a session that a message woke and that could not go on; another message may try again."""


LIMITED = frozenset({Reason.TURN_LIMIT_REACHED, Reason.AGE_LIMIT_REACHED})
"""Reasons of Stalled of a session that has reached a bound of its own; whether it has a host makes no difference."""

HELD = frozenset({Reason.RUNNING, Reason.CLI_FAILED}) | LIMITED
"""Reasons of Ready of a session that its host has taken, as far as status says."""


class State(StrEnum):
    """Where a session stands; every state has one row of conditions."""

    PROGRESSING = "Progressing"
    RUNNING = "Running"
    ASLEEP = "Asleep"
    SUCCEEDED = "Succeeded"
    BLOCKED = "Blocked"
    FAILED = "Failed"


_ROWS: dict[State, dict[ConditionType, ConditionStatus]] = {
    State.PROGRESSING: {
        ConditionType.READY: "False",
        ConditionType.RECONCILING: "True",
        ConditionType.ACTIVE: "False",
        ConditionType.SUCCEEDED: "Unknown",
    },
    State.RUNNING: {
        ConditionType.READY: "True",
        ConditionType.ACTIVE: "True",
        ConditionType.SUCCEEDED: "Unknown",
    },
    # Without a pod and well, as a service that is scaled to zero: it has converged, and answers when it is asked.
    State.ASLEEP: {
        ConditionType.READY: "True",
        ConditionType.ACTIVE: "False",
        ConditionType.SUCCEEDED: "Unknown",
    },
    State.SUCCEEDED: {
        ConditionType.READY: "True",
        ConditionType.ACTIVE: "False",
        ConditionType.SUCCEEDED: "True",
    },
    State.BLOCKED: {
        ConditionType.READY: "False",
        ConditionType.STALLED: "True",
        ConditionType.ACTIVE: "False",
        ConditionType.SUCCEEDED: "Unknown",
    },
    State.FAILED: {
        ConditionType.READY: "False",
        ConditionType.STALLED: "True",
        ConditionType.ACTIVE: "False",
        ConditionType.SUCCEEDED: "False",
    },
}


def conditions_for(
    state: State,
    reason: str,
    message: str,
    *,
    previous: Sequence[Condition],
    generation: int,
    now: datetime,
    ends: bool = True,
) -> list[Condition]:
    """Return the row of conditions of `state`, keeping the transition time of what did not flip.

    `ends` is whether the session finishes by itself; a LongRunning one does not, and says nothing of Succeeded.
    """
    return [
        condition_for(kind, status, reason, message, previous=previous, generation=generation, now=now)
        for kind, status in _ROWS[state].items()
        if ends or kind is not ConditionType.SUCCEEDED
    ]


def condition_for(
    kind: str,
    status: ConditionStatus,
    reason: str,
    message: str,
    *,
    previous: Sequence[Condition],
    generation: int,
    now: datetime,
) -> Condition:
    """Return one condition, keeping its transition time if its status did not flip."""
    before = next((c for c in previous if c.type == kind), None)
    return _condition(before, kind, status, reason, message, generation, now)


def _condition(
    before: Condition | None,
    kind: str,
    status: ConditionStatus,
    reason: str,
    message: str,
    generation: int,
    now: datetime,
) -> Condition:
    """Return one condition; its transition time is `now` only if its status flipped."""
    same = before is not None and before.status == status
    return Condition(
        type=kind,
        status=status,
        reason=reason,
        message=message[:MAX_MESSAGE],
        last_transition_time=before.last_transition_time if same and before else now,
        observed_generation=generation,
    )
