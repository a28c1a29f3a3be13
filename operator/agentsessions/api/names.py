"""Names, labels and annotations of everything the operator makes; the only place where they are spelled."""

import hashlib
import json
from typing import Any

from agentsessions.api.base import GROUP

MANAGED_BY = "agentsessions"
FIELD_MANAGER = "agentsessions"
STATUS_FIELD_MANAGER = "agentsessions-status"
GATEWAY_FIELD_MANAGER = "agentsessions-gateway"
CONTROLLER = f"{GROUP}/operator"
DEFAULT_TEMPLATE = "default"
CONTAINER = "agent"
FINALIZER = f"{GROUP}/stored-conversation"
"""On sessions whose stored conversation goes with them; off once it is gone, or cannot be removed."""

LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_NAME = "app.kubernetes.io/name"
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_SESSION = f"{GROUP}/session"
LABEL_SESSION_UID = f"{GROUP}/session-uid"
LABEL_ATTEMPT = f"{GROUP}/attempt"
LABEL_HOST = f"{GROUP}/host"
LABEL_POOL = f"{GROUP}/pool"
LABEL_POOL_UID = f"{GROUP}/pool-uid"
LABEL_NETWORK_POLICY = f"{GROUP}/network-policy"
LABEL_DISRUPTION = f"{GROUP}/disruption"
ANNOTATION_SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
"""What the Cluster Autoscaler goes by; without it, pods with local disks or controllers it does not know hold nodes."""
ANNOTATION_DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt"
NEVER_BUDGET = "agentsessions-disruption-never"
HELD_BUDGET = "agentsessions-disruption-held"
ANNOTATION_TEMPLATE_HASH = f"{GROUP}/template-hash"
ANNOTATION_IMAGE = f"{GROUP}/image"
"""The image that a session's own pod was made with; somebody's webhook may have put another one into its container."""

POD_SELECTOR = f"{LABEL_MANAGED_BY}={MANAGED_BY},{LABEL_SESSION_UID}"
AGENT_SELECTOR = f"{LABEL_MANAGED_BY}={MANAGED_BY}"
HOST_SELECTOR = f"{LABEL_MANAGED_BY}={MANAGED_BY},{LABEL_POOL_UID}"
OWN_HOST_SELECTOR = f"{LABEL_MANAGED_BY}={MANAGED_BY},{LABEL_HOST}=session"
"""Pods of one Hybrid session each, which run a host for it."""
CLEANUP = "cleanup"
"""Component of the pods that remove what deleted sessions have left in stores."""
CLEANUP_SELECTOR = f"{LABEL_MANAGED_BY}={MANAGED_BY},{LABEL_COMPONENT}={CLEANUP}"
POLICY_SELECTOR = f"{LABEL_MANAGED_BY}={MANAGED_BY},{LABEL_COMPONENT}=network-policy"

_SLUG_LENGTH = 40


def digest(value: Any, length: int = 10) -> str:
    """Return a short stable hash of a JSON value, safe in names and label values."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def child_name(session: str, uid: str) -> str:
    """Return the stem of a session's children: readable, a valid DNS label, never shared by two sessions."""
    slug = session[:_SLUG_LENGTH].replace(".", "-").strip("-")
    return f"{slug}-{digest(uid, 8)}"


def pod_name(session: str, uid: str, attempt: int) -> str:
    """Return the name of the pod of one attempt; being fixed, it makes a second pod for it impossible."""
    return f"{child_name(session, uid)}-{attempt}"


def cleanup_name(session: str, uid: str) -> str:
    """Return the name of the pod that removes what a session has left in its store; there is never a second one."""
    return f"{child_name(session, uid)}-forget"


def network_policy_name(key: str) -> str:
    """Return the name of the NetworkPolicy with rules of this digest; sessions with equal needs share it."""
    return f"agentsessions-{key}"


def common_labels(component: str) -> dict[str, str]:
    """Return the labels that every child carries."""
    return {LABEL_MANAGED_BY: MANAGED_BY, LABEL_NAME: "agentsession", LABEL_COMPONENT: component}


def session_labels(session: str, uid: str) -> dict[str, str]:
    """Return the labels that tie a child to its session."""
    return common_labels("session") | {LABEL_SESSION: session, LABEL_SESSION_UID: uid}
