"""What a session had come to at the end of its last turn: its bill, the message that was answered, how far it went.

It stands on the disk and, as a subkey of the conversation, in the session store: a lost pod takes its disk with it.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from agentrunner.keeping.files import OURS
from agentrunner.lines import Entry
from agentrunner.serving.files import load, save
from agentsessions.api.status import Transcript, Usage

LEDGER = f"{OURS}ledger"
"""Subkey under which the store has it."""

BEGUN = f"{OURS}begun"
"""Subkey under which the store has the message whose turn began last."""

_FILE = "ledger.json"


@dataclass(frozen=True, slots=True)
class Ledger:
    """`ended` is the uuid of the last message whose turn came to an end, however it did.

    `unread` is that of the last one that was begun with, and that the agent was never given. `unkept` are those whose
    turns there was no room for: of them a transcript may have nothing, or the end alone.
    """

    usage: Usage | None = None
    ended: str | None = None
    transcript: Transcript | None = None
    unread: str | None = None
    unkept: tuple[str, ...] = ()

    def entry(self) -> Entry:
        """Return it as an entry."""
        out: Entry = {"type": "ledger", "ended": self.ended}
        out |= {"unread": self.unread} if self.unread is not None else {}
        out |= {"unkept": list(self.unkept)} if self.unkept else {}
        for name, part in (("usage", self.usage), ("transcript", self.transcript)):
            out |= {name: part.to_json()} if part is not None else {}
        return out

    def keep(self, folder: Path) -> None:
        """Write it down in a session's folder."""
        save(folder / _FILE, {"version": 1} | self.entry())


def begun(message: str) -> Entry:
    """Return the entry that says that a message's turn begins."""
    return {"type": "begun", "message": message}


def read(entry: Entry | None) -> Ledger:
    """Return what an entry says; nothing if it is none of ours."""
    try:
        usage, transcript = (entry or {}).get("usage"), (entry or {}).get("transcript")
        return Ledger(
            Usage.model_validate(usage) if usage else None,
            (entry or {}).get("ended"),
            Transcript.model_validate(transcript) if transcript else None,
            (entry or {}).get("unread"),
            tuple(map(str, (entry or {}).get("unkept") or ())),
        )
    except (ValidationError, TypeError, AttributeError):
        return Ledger()


def kept(folder: Path) -> Ledger:
    """Return what was written down in a session's folder."""
    return read(load(folder / _FILE))


def later(one: Ledger, other: Ledger) -> Ledger:
    """Return the one that goes further."""
    return max((one, other), key=lambda ledger: ledger.usage.turns if ledger.usage is not None else -1)
