"""How a session on a host stands, and who it is: what its host tells of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from agentrunner.events import EventLog as PodLog
from agentrunner.serving.weights import Weight
from agentsessions.api.base import Json
from agentsessions.api.host import AGENT_DEATHS, Origin, Phase, SessionFault
from agentsessions.api.status import Transcript


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a session is."""

    session_id: str
    namespace: str
    name: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a session has from its host: a log, how many messages may wait, and who is told of changes.

    `kills` counts processes that the kernel killed for want of memory; None where nobody knows whose they were.
    """

    log: PodLog
    max_queued: int
    on_change: Callable[[str], None]
    kills: Callable[[], int] | None = None


@dataclass(slots=True)
class Standing:
    """What changes while a session goes on. `put_away`: all of it is stored, and it takes no message.

    `stopped_at_work`: its host stops, and ended a turn for that.

    `kills` is that of its surroundings, `oom_kills` what it last said. `death` is told on after the turn that follows:
    who looks only then is to hear of it, too.
    """

    phase: Phase = Phase.SUSPENDED
    fault: SessionFault | None = None
    death: SessionFault | None = None
    weight: Weight = field(default_factory=Weight)
    activity: datetime | None = None
    transcript: Transcript | None = None
    interrupted: bool = False
    put_away: bool = False
    stopped_at_work: bool = False
    streams: int = 0
    oom_kills: int | None = None
    kills: Callable[[], int] | None = None

    def turn_ended(self, cut: tuple[str, str] | None) -> None:
        """Take note of the end of a message's turn, and of what cut it short: what was wrong before is over."""
        self.activity, self.phase, self.fault, self.interrupted = now(), Phase.IDLE, None, False
        self.note_cut(cut)

    def note_cut(self, cut: tuple[str, str] | None) -> None:
        """Blame what cut a turn short, if something did: a reason, and a message."""
        if cut is not None:
            self.blame(*cut)

    def blame(self, reason: str, message: str, exit_code: int | None = None) -> None:
        """Take note of what went wrong, and of what was killed by then: who reads the one knows of the other."""
        self.count_kills()
        self.fault = SessionFault(reason=reason, message=message, time=now(), exit_code=exit_code)
        if reason in AGENT_DEATHS:
            self.death = self.fault

    def count_kills(self) -> None:
        """Take note of what was killed for want of memory."""
        self.oom_kills = self.kills() if self.kills is not None else None

    def told(self) -> Json:
        """Return it as a part of a HostSession."""
        return {
            "phase": self.phase,
            "fault": self.fault,
            "death": self.death,
            "rss_bytes": self.weight.memory_bytes,
            "cpu_seconds": self.weight.cpu_seconds,
            "last_activity_time": self.activity,
            "transcript": self.transcript,
            "interrupted": self.interrupted,
            "put_away": self.put_away,
            "stopped_at_work": self.stopped_at_work,
            "streams": self.streams,
            "oom_kills": self.oom_kills,
        }


def now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)
