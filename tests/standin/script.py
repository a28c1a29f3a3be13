"""The script language: what a prompt may ask the stand-in to answer. Pure; it knows nothing of HTTP."""

import json
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

START, END = "<<script", "script>>"
_REPEAT = {"$repeat", "times"}


class ScriptError(ValueError):
    """The prompt holds a script that cannot be read; the message says where and why."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class ToolCall(_Part):
    """One tool_use block."""

    tool: str
    input: dict[str, Any] = {}


class Failure(_Part):
    """An HTTP error; answered `times` times for a session, or always when `times` is unset."""

    status: int = Field(529, ge=400, le=599)
    type: str = "overloaded_error"
    message: str = "scripted error"
    times: int | None = Field(None, ge=1)
    retry_after: int | None = Field(None, alias="retryAfter", ge=0)


class Slow(_Part):
    """The text comes in `chunks` pieces, `seconds` apart."""

    seconds: float = Field(1.0, ge=0)
    chunks: int = Field(10, ge=1)


class Tokens(_Part):
    """Token counts that the answer claims."""

    input: int = Field(0, ge=0)
    output: int = Field(0, ge=0)
    cache_read: int = Field(0, alias="cacheRead", ge=0)
    cache_creation: int = Field(0, alias="cacheCreation", ge=0)


def _expand(value: Any) -> Any:
    """Return `value` with every `{"$repeat": text, "times": n}` replaced by the repeated text."""
    if isinstance(value, dict):
        if set(value) == _REPEAT:
            return str(value["$repeat"]) * int(value["times"])
        return {key: _expand(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item) for item in value]
    return value


class Step(_Part):
    """One answer of the model: an error, or thinking, text and tool calls with their timing and usage."""

    text: Annotated[str | None, BeforeValidator(_expand)] = None
    thinking: str | None = None
    tool: str | None = None
    input: Annotated[dict[str, Any], BeforeValidator(_expand)] = {}
    tools: Annotated[tuple[ToolCall, ...], BeforeValidator(_expand)] = ()
    error: Failure | None = None
    slow: Slow | None = None
    delay: float = Field(0.0, ge=0)
    usage: Tokens | None = None
    stop_reason: str | None = Field(None, alias="stopReason")
    cut: bool = False

    @model_validator(mode="after")
    def _says_something(self) -> "Step":
        if self.error is None and not (self.calls or self.slow or self.cut or self.text is not None):
            raise ValueError("a step must have one of text, tool, tools, error, slow, cut")
        return self

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """All tool calls of this step, in order."""
        single = (ToolCall(tool=self.tool, input=self.input),) if self.tool else ()
        return single + self.tools


_STEPS = TypeAdapter(tuple[Step, ...])


def parse_script(text: str) -> tuple[Step, ...] | None:
    """Return the steps of the last script in `text`, or None without one; raise ScriptError for a bad one."""
    start = text.rfind(START)
    if start < 0:
        return None
    end = text.find(END, start)
    if end < 0:
        raise ScriptError(f"the script has no end: close it with '{END}'")
    try:
        return _STEPS.validate_python(json.loads(text[start + len(START) : end]))
    except json.JSONDecodeError as error:
        raise ScriptError(f"the script is not JSON: {error.msg} at character {error.pos}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the script"
        raise ScriptError(f"the script is wrong at {where}: {first['msg']}") from error
