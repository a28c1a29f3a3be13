"""What the pod was given: the prompt and session.json. Reads both and says clearly what is wrong with them.

It must not look at the environment beyond the directory it is told to read.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from uuid import UUID

from pydantic import Field, ValidationError

from agentrunner.errors import InvalidInput
from agentsessions.api.agent import AgentOptions
from agentsessions.api.base import ApiModel

PROMPT_FILE = "prompt"
SESSION_FILE = "session.json"
_MAX_SCHEMA = 100_000
"""Bytes of `agent.outputSchema`: the CLI takes it as one argument, and Linux refuses arguments over 128 KiB."""


class SessionDocument(ApiModel):
    """session.json as the operator writes it."""

    version: Literal[1]
    session_id: UUID
    namespace: str = ""
    name: str = ""
    attempt: int = Field(0, ge=0)
    agent: AgentOptions = AgentOptions()
    content_logging: Literal["Omit", "Include"] = "Omit"


@dataclass(frozen=True, slots=True)
class Inputs:
    """One task: who it belongs to, what is asked, and how the agent is to be set up."""

    session_id: str
    namespace: str
    name: str
    prompt: str
    attempt: int
    agent: AgentOptions
    include_content: bool


def read_inputs(directory: Path) -> Inputs:
    """Return the inputs in `directory`; raise InvalidInput when a file is missing or wrong."""
    document = parse_session(_read(directory / SESSION_FILE))
    return Inputs(
        session_id=str(document.session_id),
        namespace=document.namespace,
        name=document.name,
        prompt=parse_prompt(_read(directory / PROMPT_FILE)),
        attempt=document.attempt,
        agent=document.agent,
        include_content=document.content_logging == "Include",
    )


def parse_prompt(data: bytes) -> str:
    """Return the prompt as text; raise InvalidInput when it is empty or not UTF-8."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the prompt must be UTF-8 text: byte {error.start} is not") from None
    if not text.strip():
        raise InvalidInput("the prompt must not be empty")
    return text


def parse_session(data: bytes) -> SessionDocument:
    """Return session.json as a model; raise InvalidInput with the field that is wrong."""
    try:
        document = SessionDocument.model_validate(json.loads(data))
    except ValidationError as error:
        # The value itself stays out of the message: it may be a system prompt.
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "document"
        raise InvalidInput(f"`{field}` in {SESSION_FILE} is wrong: {first['msg']}") from None
    except ValueError as error:
        raise InvalidInput(f"{SESSION_FILE} must be JSON: {error}") from None
    _check_agent(document.agent)
    return document


def _check_agent(agent: AgentOptions) -> None:
    """Refuse what the CLI would only refuse after it has started."""
    if agent.fallback_model is not None and agent.fallback_model == agent.model:
        raise InvalidInput("`agent.fallbackModel` must differ from `agent.model`")
    if agent.output_schema is not None and len(json.dumps(agent.output_schema)) > _MAX_SCHEMA:
        raise InvalidInput(f"`agent.outputSchema` must be at most {_MAX_SCHEMA} bytes of JSON")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"'{path}' cannot be read ({error.strerror}): mount the session's files there") from None
