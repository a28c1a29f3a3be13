"""One attempt's books: usage so far, the report as it stands, what is kept on the volume. Small writes only."""

from collections.abc import Callable

from claude_agent_sdk import ResultMessage

from agentrunner import oom, report
from agentrunner.events import EventLog
from agentrunner.outcome import Verdict
from agentrunner.state import State
from agentrunner.terminationlog import TerminationLog
from agentrunner.usage import ZERO, Meter, read_meter, used_since
from agentsessions.api.status import Usage
from agentsessions.api.termination import TerminationReport


class Books:
    """Keeps the termination message, usage.json and result.json in step with the attempt."""

    def __init__(self, session_id: str, attempt: int, state: State, termination: TerminationLog, log: EventLog) -> None:
        self._session_id = session_id
        self._attempt = attempt
        self._state = state
        self._termination = termination
        self._log = log
        self._start = ZERO
        self._turns = 0
        self._kills_before = oom.count()
        self.usage = Usage()

    @property
    def oom_kills(self) -> int:
        """Processes of the pod that were killed for want of memory during this attempt."""
        return max(0, oom.count() - self._kills_before)

    def start(self, meter: Meter) -> None:
        """Take the reading that this attempt counts from."""
        self._start = meter

    def progress(self, meter: Meter, turns: int) -> None:
        """Take a reading in the middle of the turn."""
        self._count(used_since(self._start, meter, turns))

    def turn_ended(self, message: ResultMessage) -> None:
        """Take the reading at the end of a turn; the report that follows tells it."""
        self._turns += message.num_turns
        meter = read_meter(message.total_cost_usd, message.model_usage)
        self._count(used_since(self._start, meter, self._turns), quiet=True)

    def close(self, verdict: Verdict, message: ResultMessage | None) -> TerminationReport:
        """Report the end, with the answer in `message`: first on the volume, then to Kubernetes."""
        answered = message is not None and verdict.is_finished and not message.is_error
        result = report.result_of(message) if message and answered else None
        ended = report.final(self._session_id, verdict, result, self.usage, self.oom_kills)
        if verdict.is_finished:
            self._keep(lambda: self._state.keep_finished(self._attempt, ended))
        self.publish(ended)
        return ended

    def publish(self, ended: TerminationReport) -> None:
        """Make `ended` the container's termination message."""
        error = self._termination.write(report.fit(ended))
        if error is not None:
            self._log.emit("terminationLogFailed", error=error.strerror)

    def _keep(self, write: Callable[[], object]) -> None:
        """Write to the volume; a full one costs what is kept there, but never the report."""
        try:
            write()
        except OSError as error:
            self._log.emit("stateNotKept", error=error.strerror)

    def _count(self, usage: Usage, *, quiet: bool = False) -> None:
        if usage != self.usage:
            self.usage = usage
            self._keep(lambda: self._state.keep_usage(self._attempt, usage))
        if not quiet:
            self.publish(report.running(self._session_id, usage, self.oom_kills))
