"""The environment that the CLI, and so every tool of the agent, gets to see. Pure.

The SDK passes on all of the runner's own environment, so what must not pass is removed from that first.
Everything else passes: an image built on ours may set variables that its tools need.
"""

from collections.abc import Mapping

DEFAULTS = {
    "HOME": "/home/agent",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_MAX_RETRIES": "4",
    "CLAUDE_CODE_STREAM_CLOSE_TIMEOUT": "300000",
}
"""Set unless the pod says otherwise.

Ten retries, the CLI's own choice, hide a dead endpoint for minutes. The last one is how long the SDK waits for the CLI
to start, in milliseconds: on a crowded node the SDK's own minute is over too soon, and another attempt only adds load.
"""

ONE_TASK = {"CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1"}
"""Set for a session that is over with its answer: it would not wait for subagents in the background, and lose them."""

_REMOVED = ("AGENTSESSIONS_", "KUBERNETES_")
"""The runner's own variables, and the API server's address, which no agent has business with."""


def agent_environment(own: Mapping[str, str], prompt: str, state_dir: str) -> dict[str, str]:
    """Return the environment for the CLI: the runner's own without the prompt and what is not the agent's."""
    kept = {
        name: value for name, value in own.items() if not name.startswith(_REMOVED) and value.strip() != prompt.strip()
    }
    return {**DEFAULTS, "CLAUDE_CONFIG_DIR": f"{state_dir}/claude", **kept}
