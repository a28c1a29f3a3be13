"""The report that an agent container leaves in its termination message: at most 4096 bytes of JSON.

Written by the agent image (ours or another), read by the operator. Kubernetes caps the message at 4096 bytes
(https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/).
"""

import re
from enum import StrEnum
from typing import Literal

from pydantic import Field, field_validator

from agentsessions.api.base import ApiModel
from agentsessions.api.status import Result, Usage

MAX_BYTES = 4096
MAX_COUNT = 10**12

_PRICE = re.compile(r"[0-9]{1,7}(\.[0-9]{1,12})?")


class Outcome(StrEnum):
    """How far the attempt came."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class ReportReason(StrEnum):
    """Why the attempt ended as it did; the agent image chooses one."""

    RUNNING = "Running"
    COMPLETED = "Completed"
    MAX_TURNS_EXCEEDED = "MaxTurnsExceeded"
    MODEL_AUTHENTICATION_FAILED = "ModelAuthenticationFailed"
    MODEL_REQUEST_REJECTED = "ModelRequestRejected"
    MODEL_UNAVAILABLE = "ModelUnavailable"
    AGENT_CRASHED = "AgentCrashed"
    OOM_KILLED = "OOMKilled"
    INTERRUPTED = "Interrupted"
    INVALID_CONFIGURATION = "InvalidConfiguration"
    OUTPUT_SCHEMA_NOT_MET = "OutputSchemaNotMet"


class TerminationReport(ApiModel):
    """One attempt's report.

    `usage` is this attempt's alone, whatever lies on the volume: the operator adds the attempts up. An attempt
    that only repeats a finished turn's report repeats its usage too, since nobody has heard of it.
    """

    version: Literal[1] = 1
    session_id: str
    outcome: Outcome
    reason: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9]*$")
    message: str = Field("", max_length=1024)
    retryable: bool = False
    result: Result | None = None
    usage: Usage = Usage()
    oom_kills: int = Field(0, ge=0, le=1_000_000)

    @field_validator("usage")
    @classmethod
    def _plausible(cls, usage: Usage) -> Usage:
        """Refuse what cannot be added up, or what the API server would not take in status."""
        counts = usage.model_dump(exclude={"cost_usd"}).values()
        if not all(0 <= n <= MAX_COUNT for n in counts):
            raise ValueError(f"counts must be from 0 to {MAX_COUNT}")
        if not _PRICE.fullmatch(usage.cost_usd):
            raise ValueError("`costUsd` must be a plain decimal number, for example 0.0123")
        return usage
