"""The subagents of one CLI process: which there are, and how many work at once. No I/O.

The CLI asks before every call of its tool `Agent` (a PreToolUse hook). A call beyond the bound waits there for a slot,
so that a wide fan-out becomes batches and no part of it is lost: the CLI's own bound refuses what is too much, and
tells the model not to try again. When a subagent ends is read from the CLI's messages.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

from claude_agent_sdk import (
    AgentDefinition,
    ClaudeAgentOptions,
    HookMatcher,
    Message,
    ResultMessage,
    SystemMessage,
    ToolResultBlock,
    UserMessage,
)
from claude_agent_sdk.types import HookContext, HookInput, HookJSONOutput

from agentsessions.api.agent import AgentOptions

TOOL = "Agent"
_TOOLS = frozenset({TOOL, "Task"})
"""Names by which the CLI knows its tool for subagents; the second is the older one."""

_HOOK_SECONDS = 7 * 24 * 3600.0
"""How long a call may wait: what bounds a turn ends the wait too. By itself the CLI waits for a minute."""

_FORK = "fork"
"""A copy of the agent itself, which no definition bounds; the CLI offers it beside those that are defined."""


def defined(agent: AgentOptions, max_turns: int) -> dict[str, AgentDefinition] | None:
    """Return the subagents that the session names, each bounded in turns; None leaves the CLI its own."""
    if not agent.subagents:
        return None
    return {
        one.name: AgentDefinition(
            description=one.description,
            prompt=one.prompt,
            tools=one.tools,
            model=one.model,
            maxTurns=one.max_turns or max_turns,
        )
        for one in agent.subagents
    }


def with_tool(agent: AgentOptions) -> list[str] | None:
    """Return the agent's tools; an agent that has subagents can call them."""
    if agent.tools is None or not agent.subagents or _TOOLS & set(agent.tools):
        return agent.tools
    return [*agent.tools, TOOL]


def refused_tools(agent: AgentOptions) -> list[str]:
    """Return the tools that are always refused; an empty list of subagents means none at all."""
    return [*(agent.disallowed_tools or []), *([TOOL] if agent.subagents == [] else [])]


def variables(agent: AgentOptions) -> dict[str, str]:
    """Return the variables by which the CLI is told of bounds that are no options of the SDK."""
    out: dict[str, str] = {}
    if agent.subagents is not None:
        out["CLAUDE_AGENT_SDK_DISABLE_BUILTIN_AGENTS"] = "1"
    if agent.max_parallel_subagents is not None:
        # The CLI's own bound stands behind ours: it holds whatever becomes of the hook.
        out["CLAUDE_CODE_MAX_CONCURRENT_SUBAGENTS"] = str(agent.max_parallel_subagents)
    if agent.subagent_stall_timeout_seconds is not None:
        out["CLAUDE_ASYNC_AGENT_STALL_TIMEOUT_MS"] = str(agent.subagent_stall_timeout_seconds * 1000)
    if agent.max_api_retries is not None:
        out["CLAUDE_CODE_MAX_RETRIES"] = str(agent.max_api_retries)
    return out


@dataclass(slots=True)
class _Slot:
    """One call that was let through. `nested`: by a subagent. `begun`: it runs. `answered`: in the background."""

    nested: bool
    begun: bool = False
    answered: bool = False


class Subagents:
    """Lets calls of subagents through, or has them wait. It must be told every message of the process."""

    def __init__(self, agent: AgentOptions) -> None:
        self._most = agent.max_parallel_subagents
        self._only_defined = bool(agent.subagents)
        self._slots: dict[str, _Slot] = {}
        self._waiting: deque[tuple[str, asyncio.Future[bool]]] = deque()

    def guarding(self, options: ClaudeAgentOptions) -> ClaudeAgentOptions:
        """Return the options with the hook, if there is anything to guard."""
        if self._most is None and not self._only_defined:
            return options
        matcher = HookMatcher("|".join(sorted(_TOOLS)), [self.before], timeout=_HOOK_SECONDS, on_failure="block")
        return replace(options, hooks={"PreToolUse": [matcher]})

    async def before(self, call: HookInput, tool_use_id: str | None, _: HookContext) -> HookJSONOutput:
        """Answer the CLI's question whether a subagent may begin."""
        given: dict[str, Any] = dict(call)
        if self._only_defined and given.get("tool_input", {}).get("subagent_type") == _FORK:
            return _deny("This session has no forks: use one of its subagents, or do this part yourself.")
        if self._most is None or tool_use_id is None:
            return {}
        if len(self._slots) < self._most:
            self._slots[tool_use_id] = _Slot(nested="agent_id" in given)
        elif "agent_id" in given:
            # It must not wait: those that it would wait for may wait for it.
            return _deny(f"All {self._most} subagents that may work at once do: do this part yourself.")
        elif not await self._turn(tool_use_id):
            return _deny("The turn ended before this subagent could begin.")
        return {}

    def note(self, message: Message) -> None:
        """Take note of what the CLI says: when subagents begin and end, and when the turn does."""
        match message:
            case SystemMessage(subtype="task_started", data=data):
                self._began(data.get("tool_use_id", ""))
            case SystemMessage(subtype="task_notification", data=data):
                self._free(data.get("tool_use_id", ""))
            case UserMessage(content=list(blocks)):
                for block in blocks:
                    if isinstance(block, ToolResultBlock):
                        self._answered(block.tool_use_id)
            case ResultMessage():
                self._turn_ended()
            case _:
                return

    async def _turn(self, tool_use_id: str) -> bool:
        """Wait for a slot; return False if the turn ended before there was one."""
        found: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        entry = (tool_use_id, found)
        self._waiting.append(entry)
        try:
            return await found
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)

    def _began(self, tool_use_id: str) -> None:
        """A call that was let through has become a subagent."""
        if (slot := self._slots.get(tool_use_id)) is not None:
            slot.begun = True

    def _answered(self, tool_use_id: str) -> None:
        """A call has its result: it never began, or goes on in the background."""
        slot = self._slots.get(tool_use_id)
        if slot is not None and slot.begun:
            slot.answered = True
        elif slot is not None:
            self._free(tool_use_id)

    def _turn_ended(self) -> None:
        """Only what works in the background, or for that, outlives a turn; not a call of which nothing ever came."""
        while self._waiting:
            _settle(self._waiting.popleft()[1], let_through=False)
        for tool_use_id, slot in list(self._slots.items()):
            if not (slot.answered or (slot.nested and slot.begun)):
                self._free(tool_use_id)

    def _free(self, tool_use_id: str) -> None:
        """Give the slot of a call to the next that waits."""
        if self._slots.pop(tool_use_id, None) is None or self._most is None:
            return
        while self._waiting and len(self._slots) < self._most:
            following, found = self._waiting.popleft()
            self._slots[following] = _Slot(nested=False)
            _settle(found, let_through=True)


def _settle(found: "asyncio.Future[bool]", *, let_through: bool) -> None:
    """Tell one that waits; one that was given up has nobody to be told."""
    if not found.done():
        found.set_result(let_through)


def _deny(reason: str) -> HookJSONOutput:
    return {
        "hookSpecificOutput": {
            "hookEventName": "PreToolUse",
            "permissionDecision": "deny",
            "permissionDecisionReason": reason,
        }
    }
