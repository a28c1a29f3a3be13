"""Of what is on disk, what is in the store, and what the control plane remembers: which is the conversation; pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from agentrunner.lines import Entry, digest
from agentrunner.transcript import CONTINUATION
from agentsessions.api.status import Transcript

_INTERRUPTED = "[Request interrupted by user"
"""How the CLI's own note begins that a turn was ended on request: whoever waited for it was told then."""
_NO_ANSWER = "No response requested."


class Source(Enum):
    """Where the conversation is taken from."""

    NOTHING = "nothing"
    DISK = "disk"
    STORE = "store"


class Fit(Enum):
    """How it fits what the control plane remembers of it."""

    WHOLE = "whole"
    MISSING = "missing"
    TRUNCATED = "truncated"
    DIVERGED = "diverged"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which copy is the conversation, how it fits, and whether the store has to be brought up to it."""

    source: Source
    fit: Fit
    mend_store: bool = False


def judge(disk: Sequence[Entry], store: Sequence[Entry] | None, expected: Transcript | None) -> Verdict:
    """Return which copy to go on with. `store` is None where there is none, or it cannot be read.

    Both copies only ever grow at their ends. The longer of two that agree is the newer one: the store lags behind the
    disk of the pod that writes, an old disk behind the store. Where they disagree, what the control plane
    remembers decides.
    """
    if store is None:
        return Verdict(Source.DISK if disk else Source.NOTHING, fit(disk, expected))
    ours, theirs = [digest(entry) for entry in disk], [digest(entry) for entry in store]
    if ours[: len(theirs)] == theirs:
        source = Source.DISK if disk else Source.NOTHING
        return Verdict(source, fit(disk, expected), mend_store=len(ours) > len(theirs))
    if theirs[: len(ours)] == ours or fit(store, expected) is Fit.WHOLE:
        return Verdict(Source.STORE, fit(store, expected))
    return Verdict(Source.DISK, fit(disk, expected), mend_store=True)


def fit(entries: Sequence[Entry], expected: Transcript | None) -> Fit:
    """Return how entries fit what was remembered: so many at least, and the last of those the same."""
    if expected is None or expected.entries == 0:
        return Fit.WHOLE
    if not entries:
        return Fit.MISSING
    if len(entries) < expected.entries:
        return Fit.TRUNCATED
    known = expected.last_entry_digest
    return Fit.WHOLE if known in (None, digest(entries[expected.entries - 1])) else Fit.DIVERGED


def messages(entries: Iterable[Entry]) -> list[str]:
    """Return the uuids of the messages that were taken, in order."""
    return [str(entry.get("uuid")) for entry in _spoken(entries) if _is_message(entry)]


def continuations(entries: Iterable[Entry]) -> int:
    """Return how many of the last messages, one after the other, only asked the agent to go on."""
    texts = ["".join(_texts(entry)) for entry in _spoken(entries) if _is_message(entry)]
    return next((count for count, text in enumerate(reversed(texts)) if text != CONTINUATION), len(texts))


def cut_message(entries: Sequence[Entry]) -> str | None:
    """Return the message whose turn was cut, if the last one was."""
    asked, cut = messages(entries), unanswered(entries)
    return asked[-1] if cut[-1:] == asked[-1:] and asked else None


def unanswered(entries: Sequence[Entry]) -> list[str]:
    """Return the uuids of the messages to which there is no answer: they, or a tool's result, are the last word.

    Among them are those whose turn ended for want of turns: in a transcript nothing tells them from cut ones.
    """
    last: dict[str, Entry] = {}
    message = ""
    for entry in _spoken(entries):
        message = str(entry.get("uuid")) if _is_message(entry) else message
        if not _is_repair(entry):
            last[message] = entry
    return [uuid for uuid, entry in last.items() if uuid and _wants_answer(entry)]


def _wants_answer(entry: Entry) -> bool:
    """Return whether a turn cannot have come to its end with this."""
    if entry["type"] == "assistant":
        return bool(entry.get("message", {}).get("stop_reason") == "tool_use")
    return not any(text.startswith(_INTERRUPTED) for text in _texts(entry))


def _is_repair(entry: Entry) -> bool:
    """Return whether the CLI has put this in for an answer that is missing, when it took a cut conversation up."""
    return entry["type"] == "assistant" and "".join(_texts(entry)).strip() == _NO_ANSWER


def _spoken(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield what user and agent said, tools' results included, but for what subagents said."""
    for entry in entries:
        if entry.get("type") in ("user", "assistant") and not entry.get("isSidechain") and not entry.get("isMeta"):
            yield entry


def _is_message(entry: Entry) -> bool:
    """Return whether an entry is a message, not a tool's result and not the CLI's own note."""
    if entry["type"] != "user" or any(block.get("type") == "tool_result" for block in _blocks(entry)):
        return False
    return not any(text.startswith(_INTERRUPTED) for text in _texts(entry))


def _texts(entry: Entry) -> list[str]:
    return [str(block.get("text", "")) for block in _blocks(entry) if block.get("type") == "text"]


def _blocks(entry: Entry) -> list[Entry]:
    content = entry.get("message", {}).get("content")
    blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
    return [block for block in blocks if isinstance(block, dict)]
