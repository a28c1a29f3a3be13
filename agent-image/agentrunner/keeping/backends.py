"""What a host keeps its sessions in."""

from dataclasses import dataclass

from agentrunner.archive.vault import Vault
from agentrunner.stores.base import Store


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where conversations go, and where workspaces; either may be missing."""

    store: Store | None = None
    vault: Vault | None = None

    async def close(self) -> None:
        """Close the connections."""
        for one in (self.store, self.vault):
            if one is not None:
                await one.close()
