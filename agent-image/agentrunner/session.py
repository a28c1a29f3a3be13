"""One session with the CLI: connect, ask, follow, stop. The only module that talks to the SDK's client."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, ClaudeSDKError, Message, ResultMessage

from agentrunner.subagents import Subagents
from agentrunner.usage import Meter, read_meter

INTERRUPT_SECONDS = 15.0
"""How long an interrupted turn may take to wind up, the request included; less than what is kept back of the grace."""

_CONTROL_SECONDS = 5.0


class TurnEndedWithoutResult(ClaudeSDKError):
    """The CLI closed its output before it had given a result."""


class Session:
    """One CLI process: `connect` starts it, `close` ends it."""

    def __init__(self, options: ClaudeAgentOptions, subagents: Subagents) -> None:
        self._client = ClaudeSDKClient(subagents.guarding(options))
        self._subagents = subagents

    async def connect(self) -> None:
        """Start the CLI and shake hands; no model call is made."""
        await self._client.connect()

    async def close(self) -> None:
        """Let the CLI write its transcript and leave; takes seconds if it hangs."""
        await self._client.disconnect()

    @property
    def pid(self) -> int | None:
        """Process id of the CLI."""
        process: Any = getattr(self._client._transport, "_process", None)
        return None if process is None else int(process.pid)

    async def meter(self) -> Meter:
        """Return the CLI's counters; also valid in the middle of a turn."""
        # Not in the SDK's public interface at this version; the pinned CLI answers in milliseconds.
        query: Any = self._client._query
        async with asyncio.timeout(_CONTROL_SECONDS):
            answer = await query._send_control_request({"subtype": "get_usage"})
        counted = answer.get("session", {})
        return read_meter(counted.get("total_cost_usd"), counted.get("model_usage"))

    async def ask(self, text: str, uuid: str, note: Callable[[Message], None], stop: asyncio.Event) -> ResultMessage:
        """Send one message and return the result of its turn; `stop` interrupts the turn.

        `uuid` names the message in the transcript; the CLI silently ignores a message whose uuid it has seen.
        """
        # A task of its own: the SDK stalls, control replies included, once 100 messages wait.
        drain = asyncio.create_task(self._drain(uuid, note, stop))
        try:
            await self._client.query(user_message(text, uuid))
            await _first(drain, stop.wait())
            if not drain.done():
                await self._wind_up(drain)
            if not drain.done():
                raise TurnEndedWithoutResult("the turn did not end when it was interrupted")
            return drain.result()
        finally:
            drain.cancel()

    async def _drain(self, uuid: str, note: Callable[[Message], None], stop: asyncio.Event) -> ResultMessage:
        async for message in self._client.receive_messages():
            self._subagents.note(message)
            note(message)
            if isinstance(message, ResultMessage) and (stop.is_set() or answers(message, uuid)):
                return message
        raise TurnEndedWithoutResult("the CLI ended before it gave a result")

    async def _wind_up(self, drain: "asyncio.Task[ResultMessage]") -> None:
        """Interrupt the turn and wait for its end, both together for `INTERRUPT_SECONDS` at most."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        await self._interrupt()
        await asyncio.wait({drain}, timeout=INTERRUPT_SECONDS - (clock() - begun))

    async def _interrupt(self) -> None:
        """Ask the CLI to stop; a CLI that is already dying has nothing to answer, its end is seen by the drain."""
        with suppress(Exception):
            async with asyncio.timeout(_CONTROL_SECONDS):
                await self._client.interrupt()


async def user_message(text: str, uuid: str) -> AsyncIterator[dict[str, Any]]:
    """Yield one message of the user in the form that the CLI reads."""
    yield {"type": "user", "uuid": uuid, "message": {"role": "user", "content": text}, "parent_tool_use_id": None}


def answers(result: ResultMessage, uuid: str) -> bool:
    """Return whether this result ends the turn of our message, not one that the CLI began by itself."""
    return not result.user_message_uuids or uuid in result.user_message_uuids


async def _first(task: "asyncio.Task[Any]", other: Awaitable[Any]) -> None:
    """Wait until either is done; the second is cancelled if it is not."""
    waiter = asyncio.ensure_future(other)
    try:
        await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiter.cancel()
