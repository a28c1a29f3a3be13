"""Why a host does not take a session, by what was found of its conversation or what its store says, or keeps it."""

from agentrunner.keeping.compare import Fit
from agentrunner.serving.problems import Problem
from agentrunner.stores.base import StoreError, StoreFenced, StoreRefused
from agentsessions.api.host import Activation

_REFUSALS = {
    Fit.MISSING: ("transcript-missing", "The conversation so far was found neither on this host nor in the store."),
    Fit.TRUNCATED: ("transcript-truncated", "Only a part of the conversation so far was found."),
    Fit.DIVERGED: ("transcript-diverged", "Another conversation was found than the one that took place."),
}


class CannotKeep(Exception):
    """The session cannot be put away; `reason` is why, in a CamelCase word."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def require(fit: Fit, wanted: Activation) -> None:
    """Refuse to go on without the whole conversation, unless the session says otherwise. Raises Problem."""
    if fit is not Fit.WHOLE and wanted.on_missing_transcript == "Fail":
        slug, text = _REFUSALS[fit]
        raise Problem(409, slug, text)


def unusable(error: StoreError) -> Problem:
    """Say that the store cannot be used, or that another pod has the session by now, with the number of its claim."""
    if isinstance(error, StoreFenced):
        return Problem(409, "session-fenced", "Another pod has taken the session up.", more={"epoch": error.epoch})
    slug = "store-refused" if isinstance(error, StoreRefused) else "store-unreachable"
    return Problem(503, slug, f"The session store cannot be used: {error}", {"Retry-After": "5"})
