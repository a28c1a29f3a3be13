"""What the schema cannot refuse: rules that need the merged settings."""

from agentsessions.api.session import AgentSessionSpec
from agentsessions.policies.resolve import Settings

MAX_VARIABLE_BYTES = 131_000
"""Linux refuses to start a program with a longer variable (MAX_ARG_STRLEN is 131072, name and '=' included)."""


def problem(spec: AgentSessionSpec, settings: Settings) -> str | None:
    """Return what is wrong, naming the field and the fix; None if nothing is."""
    return _no_endpoint(settings) or _long_variable(spec, settings)


def _no_endpoint(settings: Settings) -> str | None:
    """Without an endpoint an agent can reach nothing, and would try for its whole deadline."""
    endpoint = settings.fields.model_endpoint
    if endpoint is not None and endpoint.base_url:
        return None
    return (
        "`modelEndpoint.baseUrl` must be set in the session, its AgentTemplate or the chart's "
        "`defaults.modelEndpoint`: pods hold no key and reach no model by themselves."
    )


def _long_variable(spec: AgentSessionSpec, settings: Settings) -> str | None:
    """A prompt that goes into a variable must fit into one."""
    if settings.fields.prompt_environment_variable is None or spec.prompt is None:
        return None
    size = len(spec.prompt.encode())
    if size <= MAX_VARIABLE_BYTES:
        return None
    return (
        f"`prompt` has {size} bytes; with `promptEnvironmentVariable` it must have at most {MAX_VARIABLE_BYTES}. "
        "Shorten it, or use an image that reads the prompt file."
    )
