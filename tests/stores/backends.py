"""The kinds of session store that the tests run against, with settings for each."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentrunner.stores.base import Store
from agentrunner.stores.opening import open_store
from agentsessions.api.host import StoreSettings


@dataclass(frozen=True)
class Backend:
    """A store that runs: its type, what its Secret holds, and further settings.

    `wrong` is what a Secret with wrong credentials holds; None where there are none.
    """

    kind: str
    secret: Mapping[str, str]
    wrong: Mapping[str, str] | None = None
    more: Mapping[str, Any] | None = None

    def settings(self, folder: Path, prefix: str, secret: Mapping[str, str] | None = None) -> StoreSettings:
        """Write the Secret into `folder`; return settings that use it."""
        folder.mkdir(exist_ok=True)
        for name, value in (self.secret if secret is None else secret).items():
            _write_once(folder / name, value)
        document = {"type": self.kind, "prefix": prefix, "secrets": str(folder), **(self.more or {})}
        return StoreSettings.model_validate(document)

    def arguments(self, folder: Path, prefix: str) -> list[str]:
        """Return the arguments of the command line for the same store."""
        settings = self.settings(folder, prefix)
        words = ["--type", self.kind, "--prefix", prefix, "--secrets", str(folder)]
        if settings.s3:
            words += ["--bucket", settings.s3.bucket, "--endpoint", str(settings.s3.endpoint)]
        if settings.custom:
            words += ["--entry-point", settings.custom.entry_point]
        return words


def _write_once(path: Path, text: str) -> None:
    """Leave a file alone that is there: a store may be reading it."""
    if not path.exists():
        path.write_text(text)


class Opener:
    """Opens stores of a backend under prefixes of one test; closes them all at its end."""

    def __init__(self, backend: Backend, folder: Path, namespace: str) -> None:
        self.backend = backend
        self.folder = folder
        self.namespace = namespace
        self._open: list[Store] = []

    def __call__(self, prefix: str = "team") -> Store:
        """Open a store under `prefix` and this test's namespace."""
        return self.settled(self.backend.settings(self.folder / "secret", f"{prefix}/{self.namespace}"))

    def settled(self, settings: StoreSettings) -> Store:
        """Open the store of these settings."""
        store = open_store(settings)
        self._open.append(store)
        return store

    async def close(self) -> None:
        """Close every store."""
        for store in self._open:
            await store.close()
