"""How a session's CLI is started on a host: options, environment and whether there is a conversation to resume."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from claude_agent_sdk import ClaudeAgentOptions, SessionStore

from agentrunner.options import Launch, sdk_options
from agentrunner.serving.places import SessionPlaces
from agentrunner.transcript import Start, begin, find
from agentsessions.api.agent import AgentOptions

_PROMPT_FILE = "system-prompt"


def transcript_path(places: SessionPlaces, session_id: str) -> Path:
    """Return where the CLI keeps the session's transcript."""
    return find(places.config, places.workspace, session_id)


def can_resume(places: SessionPlaces, session_id: str) -> bool:
    """Return whether there is a conversation to go on with; a transcript without one is set aside."""
    return begin(transcript_path(places, session_id), session_id) is not Start.FRESH


def options(
    agent: AgentOptions,
    places: SessionPlaces,
    session_id: str,
    on_stderr: Callable[[str], None],
    *,
    fork_from: str | None = None,
    store: SessionStore | None = None,
) -> ClaudeAgentOptions:
    """Return the SDK's options for the session's next process."""
    launch = Launch(
        session_id=session_id,
        resume=can_resume(places, session_id),
        cwd=places.workspace,
        system_prompt=_system_prompt(agent, places),
        fork_from=fork_from,
    )
    made = sdk_options(agent, launch, on_stderr)
    made = replace(made, env={**made.env, **_environment(places)})
    # Eager: what is written is known of at once, not at the end of a turn that may never come.
    return made if store is None else replace(made, session_store=store, session_store_flush="eager")


def _environment(places: SessionPlaces) -> Mapping[str, str]:
    """Return what differs from session to session; the rest is the host's own, cleaned at its start."""
    return {
        "CLAUDE_CONFIG_DIR": str(places.config),
        "TMPDIR": str(places.tmp),
        "CLAUDE_CODE_TMPDIR": str(places.tmp),
        "HOME": str(places.home),
    }


def _system_prompt(agent: AgentOptions, places: SessionPlaces) -> Path | None:
    """Return a file with the instructions: arguments can be read in the process list."""
    if not agent.system_prompt:
        return None
    path = places.own / _PROMPT_FILE
    path.write_text(agent.system_prompt)
    path.chmod(0o600)
    return path
