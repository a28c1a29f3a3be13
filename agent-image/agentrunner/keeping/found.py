"""With what a session begins in a pod: what is known of its messages, its turns and its bill; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from agentrunner.keeping.compare import Fit, Source, Verdict, continuations, cut_message, messages, unanswered
from agentrunner.keeping.ledger import Ledger
from agentrunner.lines import Entry
from agentsessions.api.host import Activation, Beginning
from agentsessions.api.status import Usage

_BEGINNINGS = {Fit.MISSING: Beginning.LOST, Fit.TRUNCATED: Beginning.TRUNCATED, Fit.DIVERGED: Beginning.DIVERGED}


@dataclass(frozen=True, slots=True)
class Found:
    """With what a session begins: how, what was said so far, and what it had used.

    `messages` are the uuids of all messages, `ended` is the last one whose turn came to its end, `cut` the one whose
    turn was cut, `continuations` how often in a row the agent was asked to go on, `fork_from` the session to copy.
    `doubtful` are messages whose turn began and did not come to its end, as far as anybody can say: the cut ones of all
    times, and one that was lost with its pod before a word of it was in the transcript. `unread` is one that was begun
    with and never given to the agent; of `unkept` ones no transcript says what became of them.
    """

    beginning: Beginning = Beginning.FRESH
    messages: Sequence[str] = ()
    ended: str | None = None
    cut: str | None = None
    continuations: int = 0
    usage: Usage | None = None
    fork_from: str | None = None
    doubtful: tuple[str, ...] = ()
    unread: str | None = None
    unkept: tuple[str, ...] = ()

    @property
    def interrupted(self) -> bool:
        """Whether the last turn was cut."""
        return self.cut is not None or any(uuid not in self.messages for uuid in self.doubtful)


def taken_up(
    beginning: Beginning,
    entries: list[Entry],
    ledger: Ledger,
    wanted: Activation,
    source: str | None,
    announced: str | None = None,
) -> Found:
    """Return what was found, with the bill by whoever knows more: the ledger, or the control plane."""
    cut = cut_message(entries)
    asked = messages(entries)
    told, known = ledger.usage, wanted.usage
    usage = told if known is None or (told is not None and told.turns >= known.turns) else known
    # What ended without an answer, for want of turns for example, was not cut.
    cut = None if cut == ledger.ended else cut
    lost = [announced] if announced is not None and announced not in (*asked, ledger.ended, ledger.unread) else []
    doubtful = [*(uuid for uuid in unanswered(entries) if uuid != ledger.ended), *lost]
    more = continuations(entries)
    last = ledger.unread, ledger.unkept
    return Found(beginning, asked, ledger.ended, cut, more, usage, source, tuple(doubtful), *last)


def beginning(verdict: Verdict, fork: str | None) -> Beginning:
    """Return how a session begins by what was found; `fork` is the session that it copies, if it does."""
    if verdict.fit is not Fit.WHOLE:
        return _BEGINNINGS[verdict.fit]
    if fork is not None:
        return Beginning.FORKED
    return Beginning.FRESH if verdict.source is Source.NOTHING else Beginning.RESUMED
