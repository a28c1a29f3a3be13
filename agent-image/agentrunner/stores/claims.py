"""Which sessions a store's object has claimed, and as which epoch."""

from claude_agent_sdk import SessionKey, SessionListSubkeysKey

from agentrunner.stores.base import StoreFenced

_Key = SessionKey | SessionListSubkeysKey


class Claims:
    """Epochs by session; a session that was not claimed has none, and is not guarded."""

    def __init__(self) -> None:
        self._epochs: dict[tuple[str, str], int] = {}

    def made(self, key: _Key, epoch: int) -> None:
        """Take note of a claim."""
        self._epochs[_session(key)] = epoch

    def dropped(self, key: _Key) -> None:
        """Forget a claim."""
        self._epochs.pop(_session(key), None)

    def of(self, key: _Key) -> int | None:
        """Return the epoch of the claim on a session; None if there is none."""
        return self._epochs.get(_session(key))


def require(epoch: int | None, held: int) -> None:
    """Raise StoreFenced if the epoch that the store holds is later than that of a claim."""
    if epoch is not None and held > epoch:
        raise StoreFenced(held)


def _session(key: _Key) -> tuple[str, str]:
    return key["project_key"], key["session_id"]
