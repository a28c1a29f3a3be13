"""`agentrunner run`: one attempt at one task, from the files in the pod to the exit code. The I/O of it all."""

import asyncio
import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from claude_agent_sdk import Message, ResultMessage

from agentrunner import report
from agentrunner.attempt import Books
from agentrunner.company import Company
from agentrunner.environment import ONE_TASK, agent_environment
from agentrunner.errors import InvalidInput
from agentrunner.events import EventLog, LibraryHandler
from agentrunner.grace import Grace, read_grace
from agentrunner.inputs import Inputs, read_inputs
from agentrunner.keeping.gaps import end_half_line
from agentrunner.options import Launch, sdk_options
from agentrunner.outcome import INTERRUPTED, STOPPED, Verdict, failed, judge_exception, judge_result
from agentrunner.places import Places, places, require_writable, write_private
from agentrunner.progress import Progress
from agentrunner.scrub import make_scrubber
from agentrunner.session import Session
from agentrunner.state import State
from agentrunner.stopping import SIGNALS, StopFlag
from agentrunner.subagents import Subagents
from agentrunner.terminationlog import TerminationLog
from agentrunner.transcript import CONTINUATION, Start, begin, find, prompt_uuid
from agentrunner.usage import ZERO
from agentsessions.api.termination import Outcome, ReportReason, TerminationReport

METER_SECONDS = 0.25
"""Least time between two readings of the usage while messages come in."""


def run(own: Mapping[str, str], cwd: Path, log: EventLog, stop: StopFlag) -> int:
    """Run the attempt that the environment describes and return the exit code."""
    where = places(own, cwd)
    termination = TerminationLog(where.termination)
    session_id = own.get("AGENTSESSIONS_SESSION_ID", "unknown")
    try:
        inputs = read_inputs(where.session)
        session_id = inputs.session_id
        environment = _take_environment(own, inputs, where)
        log.bind(
            make_scrubber(environment, inputs.prompt),
            include_content=inputs.include_content,
            sessionId=session_id,
            attempt=inputs.attempt,
        )
        state = State(where.state, session_id, inputs.agent.max_turns)
        state.open()
        require_writable(environment)
        company = _company(own, inputs, where, log)
        grace = read_grace(own, where.session)
    except InvalidInput as error:
        return _refuse(error, session_id, termination, log)
    books = Books(session_id, inputs.attempt, state, termination, log)
    stored = state.finished()
    if stored is not None:
        return _repeat(stored, books, log)
    return asyncio.run(_Attempt(inputs, where, environment, books, log, company, grace).run(stop))


def _take_environment(own: Mapping[str, str], inputs: Inputs, where: Places) -> dict[str, str]:
    """Return the agent's environment, and make it this process's own: the SDK passes on what it finds there."""
    environment = ONE_TASK | agent_environment(own, inputs.prompt, str(where.state))
    os.environ.clear()
    os.environ.update(environment)
    return environment


def _company(own: Mapping[str, str], inputs: Inputs, where: Places, log: EventLog) -> Company:
    """Return who takes part: the clients of the gateway, if the pod was told whom to trust."""
    if not own.get("AGENTSESSIONS_PUBLIC_KEYS"):
        return Company()
    # Only now: a task that nobody talks to need not wait until a web server is loaded.
    from agentrunner.serving.solo import solo

    return solo(own, inputs, where, log)


def _refuse(error: InvalidInput, session_id: str, termination: TerminationLog, log: EventLog) -> int:
    verdict = failed(ReportReason.INVALID_CONFIGURATION, str(error), retryable=False)
    log.emit("refused", reason=verdict.reason, message=verdict.message)
    termination.write(report.fit(report.final(session_id, verdict, None, report.NO_USAGE, 0)))
    return verdict.exit_code


def _repeat(stored: TerminationReport, books: Books, log: EventLog) -> int:
    """Report the turn that an earlier attempt finished: it is paid for, and must not be run again."""
    books.publish(stored)
    log.emit("alreadyFinished", outcome=stored.outcome, reason=stored.reason)
    return Verdict(stored.outcome, stored.reason, stored.message, stored.retryable).exit_code


class _Attempt:
    """The part of a run that needs an event loop."""

    def __init__(
        self,
        inputs: Inputs,
        where: Places,
        environment: Mapping[str, str],
        books: Books,
        log: EventLog,
        company: Company,
        grace: Grace,
    ) -> None:
        self._inputs = inputs
        self._where = where
        self._environment = environment
        self._books = books
        self._log = log
        self._company = company
        self._grace = grace
        self._progress = Progress(log)
        self._stop = asyncio.Event()
        self._halt = asyncio.Event()
        self._time_is_up = False
        self._news = asyncio.Event()
        self._result: ResultMessage | None = None
        self._ended = False

    async def run(self, stop: StopFlag) -> int:
        """Run the session, whatever happens report how it ended, and return the exit code."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._on_signal)
        if stop.is_set:
            self._on_signal()
        logging.basicConfig(handlers=[LibraryHandler(self._log)], force=True)
        self._books.progress(ZERO, 0)
        async with self._company.present(self._on_interrupt):
            try:
                verdict = await self._converse()
            except Exception as error:
                verdict = judge_exception(error, stopping=self._stop.is_set(), oom_kills=self._books.oom_kills)
            if not self._ended:
                self._end(verdict)
        return verdict.exit_code

    def _on_signal(self) -> None:
        """Begin nothing more; the turn that runs may end by itself as long as there is grace."""
        patience = self._grace.left(time.time())
        self._log.emit("stopping", turnMayTakeSeconds=round(patience))
        self._company.drain()
        self._stop.set()
        asyncio.get_running_loop().call_later(patience, self._on_time_up)

    def _on_time_up(self) -> None:
        self._time_is_up = True
        self._halt.set()

    def _on_interrupt(self) -> None:
        """A client wants the turn that runs to end."""
        self._log.emit("interrupted")
        self._halt.set()

    async def _converse(self) -> Verdict:
        """Hold the session to its end; the report is written before the CLI is asked to leave."""
        config = Path(self._environment["CLAUDE_CONFIG_DIR"])
        session_id = self._inputs.session_id
        transcript = find(config, self._where.workspace, session_id)
        end_half_line(transcript)
        start = begin(transcript, session_id)
        self._log.emit("attemptStarted", start=start.value, promptSize=len(self._inputs.prompt))
        self._company.facts.resumed = start is not Start.FRESH
        prompt = self._inputs.agent.system_prompt
        system_prompt = write_private(prompt) if prompt else None
        launch = Launch(session_id, start is not Start.FRESH, self._where.workspace, system_prompt)
        agent = self._inputs.agent
        session = Session(sdk_options(agent, launch, self._log.cli_stderr), Subagents(agent))
        if not await self._connect(session):
            return INTERRUPTED
        try:
            self._books.start(await session.meter())
            self._company.facts.pid = session.pid
            verdict = await self._turns(session, start)
            self._end(verdict)
            return verdict
        finally:
            # Once the turn has been reported, nothing that happens while the CLI leaves can change its outcome.
            with suppress(Exception):
                await session.close()

    async def _connect(self, session: Session) -> bool:
        """Start the CLI and return True, or False when the pod was told to stop meanwhile."""
        connecting = asyncio.create_task(session.connect())
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({connecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if connecting.done():
            await connecting
            return True
        connecting.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await connecting
        return False

    async def _turns(self, session: Session, start: Start) -> Verdict:
        """Ask, or ask to go on, then whatever was said meanwhile; return what came of the last."""
        if self._stop.is_set():
            return INTERRUPTED  # nothing is lost yet that the grace could save
        text, uuid = self._inputs.prompt, prompt_uuid(self._inputs.session_id)
        if start is Start.CONTINUE:
            text, uuid = CONTINUATION, str(uuid4())
        await self._company.next()  # the prompt
        verdict = await self._turn(session, text, uuid)
        while (verdict.is_finished or verdict is STOPPED) and not self._stop.is_set():
            message = await self._company.next()
            if message is None:
                break
            after = await self._turn(session, message.prompt, message.uuid)
            # A turn that a client ended does not take back the answer before it.
            verdict = verdict if after is STOPPED else after
        return verdict

    async def _turn(self, session: Session, text: str, uuid: str) -> Verdict:
        """Send one message and return what came of it."""
        self._halt = asyncio.Event()
        if self._time_is_up:
            self._halt.set()
        over = asyncio.Event()
        watch = asyncio.create_task(self._watch(session, over))
        try:
            result = await session.ask(text, uuid, self._note, self._halt)
        finally:
            over.set()
            watch.cancel()
        self._books.turn_ended(result)
        self._company.facts.usage = self._books.usage
        self._company.answered()
        return self._judged(result)

    def _judged(self, result: ResultMessage) -> Verdict:
        """Return the verdict on a turn, and keep its answer unless a client ended it."""
        verdict = judge_result(
            result,
            stopping=self._halt.is_set() or self._stop.is_set(),
            wants_structure=self._inputs.agent.output_schema is not None,
            api_error=self._progress.api_error,
        )
        if verdict is INTERRUPTED and self._halt.is_set() and not self._time_is_up:
            return STOPPED
        self._result = result
        return verdict

    def _note(self, message: Message) -> None:
        self._progress.note(message)
        self._company.heard(message)
        self._news.set()

    async def _watch(self, session: Session, over: asyncio.Event) -> None:
        """Keep the report's usage up to date while the turn goes on, so that a kill leaves it behind.

        `over` is set with the end of the turn: a reading that comes then must not take the place of what was reported
        of the end, and `asyncio.wait_for` of Python 3.11, in the SDK, may swallow a cancellation.
        """
        while not over.is_set():
            await self._news.wait()
            self._news.clear()
            try:
                reading = await session.meter()
                if over.is_set():
                    return
                self._books.progress(reading, self._progress.turns)
            except Exception as error:
                # A dying CLI cannot answer; how it died is seen, and judged, where its messages are read.
                self._log.emit("usageUnread", error=type(error).__name__)
                return
            self._company.facts.usage = self._books.usage
            await asyncio.sleep(METER_SECONDS)

    def _end(self, verdict: Verdict) -> None:
        self._ended = True
        ended = self._books.close(verdict, self._result)
        self._company.close()
        self._log.emit(
            "attemptEnded",
            outcome=ended.outcome,
            reason=ended.reason,
            message=ended.message or None,
            retryable=None if ended.outcome is Outcome.SUCCEEDED else ended.retryable,
            oomKills=ended.oom_kills or None,
            **ended.usage.to_json(),
        )
