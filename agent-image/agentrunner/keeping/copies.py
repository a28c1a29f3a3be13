"""What is known of the copy that a store has of a transcript."""

from dataclasses import dataclass, field

from agentrunner.lines import Entry, Tail


@dataclass
class Copy:
    """One transcript: how many entries the store has of it, and what is on its way.

    `doubtful`: nobody knows whether the last write came about. `unsure`: both sides have to be compared first.
    """

    tail: Tail
    stored: int = 0
    waiting: list[Entry] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    metadata: Entry | None = None
    doubtful: bool = False
    unsure: bool = True
