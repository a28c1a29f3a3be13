"""Opens what a host's document names to keep sessions in; connections are made when they are first needed."""

from agentrunner.archive.vault import Vault
from agentrunner.keeping.backends import Keeping
from agentrunner.stores.opening import open_store
from agentsessions.api.host import HostDocument


def opened(document: HostDocument) -> Keeping:
    """Return what to keep sessions in; raises InvalidInput for settings that cannot be used."""
    store = open_store(document.store) if document.store is not None else None
    vault = Vault(document.archive) if document.archive is not None else None
    return Keeping(store, vault)
