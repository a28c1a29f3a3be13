"""One `claude` process of a session: started, asked, interrupted, ended. The SDK's client stays in here."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, Message, ResultMessage

from agentrunner import oom
from agentrunner.outcome import was_starved
from agentrunner.session import INTERRUPT_SECONDS, answers, user_message
from agentrunner.subagents import Subagents
from agentrunner.usage import Meter, read_meter

CONTROL_SECONDS = 5.0
_CLOSE_SECONDS = 30.0


class ProcessDied(Exception):
    """The CLI ended, or cannot be reached, before it gave a result."""


class Process:
    """A connected CLI. All that it says goes to `on_message`, in a task of its own: the SDK stalls otherwise.

    `overdue`: its turn took too long. `starved`: the kernel killed it for want of memory. `on_end` is called when it
    ends by itself while nobody waits for its answer; `noted`: that has been told of. `exit_code` is as a container's.
    """

    def __init__(
        self,
        options: ClaudeAgentOptions,
        subagents: Subagents,
        on_message: Callable[[Message], None],
        on_end: Callable[["Process"], None],
    ) -> None:
        self._client = ClaudeSDKClient(subagents.guarding(options))
        self._subagents = subagents
        self._on_message = on_message
        self._on_end = on_end
        self._drain: asyncio.Task[None] | None = None
        self._answer: asyncio.Future[ResultMessage] | None = None
        self._asked = ""
        self._interrupted = False
        self._closing = asyncio.Lock()
        self.ended = False
        self.overdue = False
        self.starved = False
        self.noted = False
        self.exit_code: int | None = None
        self.kills = oom.Watch()

    async def connect(self) -> None:
        """Start the CLI and shake hands; no model call is made."""
        await self._client.connect()
        self._drain = asyncio.create_task(self._follow())

    @property
    def pid(self) -> int | None:
        """Process id of the CLI."""
        process = self._subprocess
        return None if process is None or self.ended else int(process.pid)

    @property
    def _subprocess(self) -> Any:
        return getattr(self._client._transport, "_process", None)

    def _returned(self) -> int | None:
        """Return the exit code of the CLI as that of a container: 128 + n where signal n ended it."""
        code: int | None = getattr(self._subprocess, "returncode", None)
        return 128 - code if code is not None and code < 0 else code

    async def ask(self, text: str, uuid: str, seconds: float | None = None) -> ResultMessage:
        """Send one message and return the result of its turn; raises ProcessDied.

        A turn that takes longer than `seconds` is interrupted, and the process `overdue`.
        """
        self._asked, self._interrupted, self.overdue = uuid, False, False
        if self.ended:
            raise ProcessDied
        self._answer = asyncio.get_running_loop().create_future()
        try:
            await self._client.query(user_message(text, uuid))
            return await self._in_time(self._answer, seconds)
        except ProcessDied:
            raise
        except Exception as error:
            raise ProcessDied from error
        finally:
            self._answer = None

    async def _in_time(self, answer: "asyncio.Future[ResultMessage]", seconds: float | None) -> ResultMessage:
        """Wait for the answer, and make an end of its turn when its time is over."""
        done, _ = await asyncio.wait({answer}, timeout=seconds)
        if not done:
            self.overdue = True
            await self.interrupt()
            done, _ = await asyncio.wait({answer}, timeout=INTERRUPT_SECONDS)
        if not done:
            raise ProcessDied
        return answer.result()

    async def interrupt(self) -> None:
        """Ask the CLI to end its turn; the result comes all the same. A CLI that is dying has nothing to answer."""
        self._interrupted = True
        with suppress(Exception):
            async with asyncio.timeout(CONTROL_SECONDS):
                await self._client.interrupt()

    async def meter(self) -> Meter:
        """Return the CLI's counters."""
        # Not in the SDK's public interface at this version; the pinned CLI answers in milliseconds.
        query: Any = self._client._query
        async with asyncio.timeout(CONTROL_SECONDS):
            answer = await query._send_control_request({"subtype": "get_usage"})
        counted = answer.get("session", {})
        return read_meter(counted.get("total_cost_usd"), counted.get("model_usage"))

    async def close(self) -> None:
        """Let the CLI write its transcript and leave; one caller at a time, the SDK cannot take two."""
        async with self._closing:
            self.ended = True
            if self._drain is not None:
                self._drain.cancel()
            with suppress(Exception):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self._client.disconnect()

    async def _follow(self) -> None:
        """Take every message as it comes, until the CLI ends."""
        try:
            async for message in self._client.receive_messages():
                self._subagents.note(message)
                self._on_message(message)
                self._settle(message)
        except Exception as error:  # the CLI died; that is what comes next
            self.starved = was_starved(error, self.kills.recent())
        self.ended, self.exit_code = True, self._returned()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ProcessDied())
        else:
            self._on_end(self)

    def _settle(self, message: Message) -> None:
        """Give the waiting caller the result of its message, not of a turn that the CLI began by itself."""
        waiting = self._answer is not None and not self._answer.done()
        if waiting and isinstance(message, ResultMessage) and (self._interrupted or answers(message, self._asked)):
            assert self._answer is not None
            self._answer.set_result(message)
