"""The sessions of the matrix: which of them is in which moment, and which are in no further round.

To make a session and to delete it with its conversation costs as much as to strike at it twice: one that is alive goes
on to another moment, and to another fault.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from faults.moments import Moment
from faults.story import Story


@dataclass(frozen=True)
class Act:
    """A session in its moment."""

    moment: Moment
    story: Story


@dataclass
class Cast:
    """Sessions that live; `new` begins the story of one more, which is named after its first moment."""

    new: Callable[[str], Story]
    _free: list[Story] = field(default_factory=list)
    _needed: int = 0

    def enter(self, moments: Iterable[Moment]) -> list[Act]:
        """Give each moment a session: where none is to be there yet a new one, else one that has been in many rounds.

        Those that are to be deleted have been in most.
        """
        self._free.sort(key=_rounds, reverse=True)
        order = sorted(moments, key=lambda moment: not moment.ends)
        acts = [Act(moment, self._next(moment)) for moment in order]
        self._needed = max(self._needed, sum(not act.moment.begins for act in acts))
        return acts

    def leave(self, acts: Sequence[Act], rounds: int) -> list[Act]:
        """Keep sessions for further rounds, as many as one has needed; return those that are over.

        Over is what was deleted, what has been in `rounds` rounds, and who has been in most of those too many.
        """
        alive = [act.story for act in acts if not act.moment.ends and act.story.rounds < rounds]
        kept = sorted(alive, key=_rounds)[: max(0, self._needed - len(self._free))]
        self._free += kept
        names = {story.name for story in kept}
        return [act for act in acts if act.story.name not in names]

    def all(self) -> list[Story]:
        """Return all that are left, for their end."""
        left, self._free = self._free, []
        return left

    def _next(self, moment: Moment) -> Story:
        story = self.new(moment.slug) if moment.begins or not self._free else self._free.pop(0)
        story.rounds += 1
        return story


def _rounds(story: Story) -> int:
    return story.rounds
