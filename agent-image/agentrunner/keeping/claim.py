"""This pod's claim on its session in the store: made before anything is read, looked at while nothing is written."""

from claude_agent_sdk import SessionListSubkeysKey

from agentrunner.stores.base import Store, StoreError, StoreFenced


class Claim:
    """A claim by the number that the control plane gave with the session (its epoch); without one there is none."""

    def __init__(self, store: Store, session: SessionListSubkeysKey) -> None:
        self._store = store
        self._session = session
        self._epoch: int | None = None
        self._made = True

    async def make(self, epoch: int | None) -> None:
        """Have the conversation be this pod's to write. Raises StoreError; what cannot be done now is done later."""
        if epoch is None or (self._made and epoch == self._epoch):
            return
        if self._epoch is not None and epoch < self._epoch:
            raise StoreFenced(self._epoch)  # by whoever knows less than there was; what is claimed stays claimed
        self._epoch, self._made = epoch, False
        await self.require()

    async def require(self) -> None:
        """Make the claim unless it is made. Raises StoreError."""
        if not self._made and self._epoch is not None:
            await self._store.claim(self._session, self._epoch)
            self._made = True

    def is_ours(self, error: StoreFenced) -> bool:
        """Return whether a write was refused for this very claim: it began before that was made, and is tried again."""
        return error.epoch == self._epoch

    async def look(self) -> None:
        """See that the session is still this pod's. Raises StoreFenced; a store that cannot tell now says nothing."""
        if self._epoch is None:
            return
        try:
            await self._store.claim(self._session, self._epoch)
        except StoreFenced:
            raise
        except StoreError:
            return

    def forget(self) -> None:
        """Claim no more: what is stored of the session is removed."""
        self._epoch, self._made = None, True

    def release(self) -> None:
        """Forget it: the session is no longer here."""
        self._store.release(self._session)
