"""The environment of an agent's container: the image contract, then the template's own variables."""

from collections.abc import Collection

from agentsessions.api.base import Json
from agentsessions.api.config import Gateway
from agentsessions.api.session import AgentSession
from agentsessions.api.template import KEY_VARIABLES
from agentsessions.builders.contract import (
    HOME_DIR,
    PLACEHOLDER_KEY,
    PROMPT_FILE,
    SESSION_DIR,
    STATE_DIR,
    TMP_DIR,
)
from agentsessions.builders.disruption import deaf_seconds
from agentsessions.policies.facts import DEFAULT_GRACE_SECONDS
from agentsessions.policies.resolve import Settings


def environment(
    session: AgentSession, settings: Settings, secret: str, gateway: Gateway, deadline: int | None = None
) -> list[Json]:
    """Return the container's variables; the contract's cannot be overridden by the template."""
    fixed = _contract(session, settings)
    if deadline is not None:
        fixed["AGENTSESSIONS_DEADLINE_SECONDS"] = str(deadline)
    own: list[Json] = []
    if gateway.enabled:
        fixed["AGENTSESSIONS_PUBLIC_KEYS"] = gateway.public_keys
        own = pod_variables()
    taken = fixed.keys() | {var["name"] for var in own}
    own += [var for var in _prompt_variable(session, settings, secret) if var["name"] not in taken]
    return [*template_variables(fixed, settings, fixed.keys() | {var["name"] for var in own}), *own]


def own_grace(settings: Settings) -> int:
    """Return the grace (seconds) of a session's own pod; 0 is a choice."""
    grace = settings.fields.termination_grace_period_seconds
    return DEFAULT_GRACE_SECONDS if grace is None else grace


def grace_seconds(settings: Settings, grace: int) -> str:
    """Return how long the container is told that it has between SIGTERM and SIGKILL."""
    # What is safe to evict is not worth the wait for its turn.
    return "0" if settings.disruption == "Safe" else str(grace - deaf_seconds(grace))


def pod_variables() -> list[Json]:
    """Return the variables by which a pod knows who it is."""
    paths = {"AGENTSESSIONS_POD_NAME": "metadata.name", "AGENTSESSIONS_POD_UID": "metadata.uid"}
    return [
        {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
        for name, path in paths.items()
    ]


def template_variables(fixed: dict[str, str], settings: Settings, taken: Collection[str]) -> list[Json]:
    """Return fixed variables and those of the template, but for names that are taken and those that carry keys."""
    # The schema refuses keys in resources; the operator's own defaults come by another way.
    forbidden = {*taken, *KEY_VARIABLES}
    chosen = {var.name: var.value for var in settings.fields.env or [] if var.name not in forbidden}
    return [{"name": name, "value": value} for name, value in {**fixed, **dict(sorted(chosen.items()))}.items()]


def cli_variables(settings: Settings) -> dict[str, str]:
    """Return the variables that the CLI reads, in every pod that runs one."""
    out = {
        "HOME": HOME_DIR,
        "TMPDIR": TMP_DIR,
        "CLAUDE_CONFIG_DIR": f"{STATE_DIR}/claude",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "ANTHROPIC_API_KEY": PLACEHOLDER_KEY,
    }
    endpoint = settings.fields.model_endpoint
    if endpoint and endpoint.base_url:
        out["ANTHROPIC_BASE_URL"] = endpoint.base_url
    return out


def _contract(session: AgentSession, settings: Settings) -> dict[str, str]:
    """Return the variables that every image may rely on."""
    return {
        "AGENTSESSIONS_SESSION_ID": session.metadata.uid,
        "AGENTSESSIONS_SESSION_DIR": SESSION_DIR,
        "AGENTSESSIONS_STATE_DIR": STATE_DIR,
        "AGENTSESSIONS_GRACE_SECONDS": grace_seconds(settings, own_grace(settings)),
        **cli_variables(settings),
    }


def _prompt_variable(session: AgentSession, settings: Settings, secret: str) -> list[Json]:
    """Return the variable for images that read the prompt from their environment; the value stays in a Secret."""
    name = settings.fields.prompt_environment_variable
    if name is None:
        return []
    reference = session.spec.prompt_secret_ref
    source = {"name": secret, "key": PROMPT_FILE}
    if reference is not None:
        source = {"name": reference.name, "key": reference.key}
    return [{"name": name, "valueFrom": {"secretKeyRef": source}}]
