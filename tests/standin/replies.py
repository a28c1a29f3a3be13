"""Which answer a request gets: from the script, or a friendly default. Pure but for the error ledger."""

import json
from collections.abc import Callable
from typing import Any

from standin.conversation import Position
from standin.script import Failure, Step, ToolCall

DUE = Callable[[int, int | None], bool]
"""Whether the error at this step index, to be given so many times, is still due."""

DEMO_FILE = "hello-from-the-agent.txt"
_WRITE = """printf 'Written by a tool call of the agent on %s.\\n' "$(date -u +%FT%TZ)\""""
_WORK = f"{_WRITE} > {DEMO_FILE} && cat {DEMO_FILE}"
_HELLO = ToolCall(tool="Bash", input={"command": _WORK, "description": "Write a file into the workspace"})
DEFAULT = (
    Step(text="I will leave a file in the workspace.", tools=(_HELLO,)),
    Step(text=f"Done. I wrote {DEMO_FILE} into the workspace with a real tool call and read it back."),
)
"""What is answered when the prompt holds no script: one real tool call, then a sentence."""

QUOTE = "{{toolResult}}"
"""In a step's text: replaced by what the newest tool call returned, as a model would report it."""

PAST_THE_END = Step(text="The script has no further step.")


def choose(position: Position, tools: frozenset[str], is_due: DUE) -> Step:
    """Return the step that answers a request, given the tools it offers and the errors still due."""
    if position.steps is None:
        return _without_missing_tools(_nth(DEFAULT, position.answered, is_due), tools)
    return _nth(position.steps, position.answered, is_due)


def _nth(steps: tuple[Step, ...], answered: int, is_due: DUE) -> Step:
    """Return the step after `answered` answers; an error that is due comes first and takes no place."""
    seen = 0
    for index, step in enumerate(steps):
        if step.error is not None:
            if seen == answered and is_due(index, step.error.times):
                return step
            continue
        if seen == answered:
            return step
        seen += 1
    return PAST_THE_END


def _without_missing_tools(step: Step, tools: frozenset[str]) -> Step:
    if all(call.tool in tools for call in step.calls):
        return step
    return Step(text="Hello. I have no shell here, so I only say so.")


def quoting(step: Step, tool_result: str) -> Step:
    """Return the step with the newest tool result in its text, where it asks for that."""
    if step.text is None or QUOTE not in step.text:
        return step
    return step.model_copy(update={"text": step.text.replace(QUOTE, tool_result)})


def side_answer(request: dict[str, Any]) -> str | None:
    """Return the answer to a request that the CLI makes for itself (a title, a topic), or None.

    Such a request offers no tools and asks for JSON by schema; a session without tools asks for none.
    """
    schema = ((request.get("output_config") or {}).get("format") or request.get("output_format") or {}).get("schema")
    if request.get("tools") or not isinstance(schema, dict):
        return None
    return json.dumps(example_of(schema))


def example_of(schema: dict[str, Any]) -> Any:
    """Return a small value that a JSON schema accepts, for the plain schemas that the CLI uses."""
    if schema.get("enum"):
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            return {name: example_of(part) for name, part in (schema.get("properties") or {}).items()}
        case "array":
            return []
        case "boolean":
            return False
        case "integer" | "number":
            return 0
    return "stand-in"


def error_body(failure: Failure) -> dict[str, Any]:
    """Return the JSON body of an error, in the Messages API's form."""
    return {"type": "error", "error": {"type": failure.type, "message": failure.message}}
