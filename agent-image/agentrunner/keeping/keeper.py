"""Keeps one session beyond its pod: finds its conversation and workspace at the start, has them stored at the end."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import cast

from claude_agent_sdk import SessionListSubkeysKey, SessionStore

from agentrunner.archive.errors import ArchiveError
from agentrunner.archive.memory import memory_tree
from agentrunner.archive.trees import Tree
from agentrunner.keeping.backends import Keeping
from agentrunner.keeping.compare import Fit, Source, Verdict, judge
from agentrunner.keeping.files import OURS, TranscriptFiles, as_entries, as_stored
from agentrunner.keeping.found import Found, beginning, taken_up
from agentrunner.keeping.ledger import BEGUN, LEDGER, Ledger, begun, kept, later, read
from agentrunner.keeping.mirror import Mirror
from agentrunner.keeping.refusals import CannotKeep, require, unusable
from agentrunner.lines import Entry, read_all
from agentrunner.serving import metrics
from agentrunner.serving.places import SessionPlaces
from agentrunner.serving.problems import Problem
from agentrunner.stores.base import StoreError, StoreFenced, StoreRefused
from agentrunner.transcript import says_something
from agentsessions.api.base import Json
from agentsessions.api.host import Activation
from agentsessions.api.status import Archive, Transcript

SETTLE_SECONDS = 15.0
_ANNOUNCE_SECONDS = 3.0
"""How long a turn waits until the store knows that it begins; a store that is down holds no turn up for longer."""


class Keeper:
    """One session's keeping. `on_change` is called when `told` would answer differently."""

    def __init__(self, session_id: str, places: SessionPlaces, keeping: Keeping, on_change: Callable[[], None]) -> None:
        self.files = TranscriptFiles(places.config, places.workspace, session_id)
        self.archive: Archive | None = None
        self._session_id = session_id
        self._places = places
        self._vault = keeping.vault
        self._store = keeping.store
        self._noting = asyncio.Lock()
        self._mirror = Mirror(keeping.store, self.files, on_change) if keeping.store is not None else None

    @property
    def sdk_store(self) -> SessionStore | None:
        """What the SDK is given as its session store."""
        return self._mirror.signal if self._mirror is not None else None

    @property
    def fenced(self) -> bool:
        """Whether another pod has claimed the session, so that nothing that is written here counts."""
        return self._mirror is not None and self._mirror.fenced

    def told(self) -> Json:
        """Return what there is to tell of store and archive, as a part of a HostSession."""
        mirror = self._mirror
        return {
            "durable": mirror.durable if mirror is not None else None,
            "store_problem": mirror.problem if mirror is not None else None,
            "store_repairs": mirror.repairs if mirror is not None else 0,
            "archive": self.archive,
        }

    async def find(self, wanted: Activation) -> Found:
        """Find the conversation and the workspace of a session that is new to this host. Raises Problem."""
        try:
            return await self._find(wanted, left_here=False)
        except StoreError as error:
            raise unusable(error) from None

    async def find_again(self, wanted: Activation) -> Found:
        """Take up a session that an earlier process of this host left, by what it noted then. Raises Problem."""
        noted = kept(self._places.own)
        expected = {"usage": noted.usage or wanted.usage, "transcript": noted.transcript or wanted.transcript}
        wanted = wanted.model_copy(update=expected)
        try:
            return await self._find(wanted, left_here=True)
        except StoreFenced as error:
            raise unusable(error) from None
        except StoreError as error:
            return await self._find_on_disk(wanted, noted, error)

    async def require(self, wanted: Activation) -> None:
        """Refuse a session that the host has if it is not what the control plane remembers. Raises Problem."""
        if self._mirror is not None:
            try:
                await self._mirror.claim_as(wanted.epoch)
            except StoreFenced as error:
                raise unusable(error) from None
            except StoreError:
                pass  # claimed before the next write
        disk = await asyncio.to_thread(read_all, self.files.main)
        require(judge(disk, None, _expected(wanted)).fit, wanted)

    async def announce(self, message: str) -> None:
        """Let the store know that a message's turn begins, before it has any effect: a lost pod takes its disk along.

        A store that does not answer holds no turn up for long, and knows of this one only by its transcript. Raises
        StoreFenced if another pod has the session by now.
        """
        if (mirror := self._mirror) is None:
            return
        try:
            async with asyncio.timeout(_ANNOUNCE_SECONDS):
                await self._note(mirror, BEGUN, begun(message))
        except StoreFenced as error:
            if mirror.refused(error):
                raise
        except (StoreError, TimeoutError):
            return

    async def written(self) -> bool:
        """Wait until the transcript has what the CLI says it has written, so that a look at it sees the whole turn.

        Return whether it has; without a store nobody says what is to come.
        """
        return self._mirror is None or await self._mirror.written()

    async def settle(self, ledger: Ledger) -> bool | None:
        """Have the turn that ended, and the ledger, in the store; return whether they are, None without a store."""
        with suppress(OSError):  # a full disk is told of by whoever cannot go on without it
            await asyncio.to_thread(ledger.keep, self._places.own)
        if (mirror := self._mirror) is None:
            return None
        if not await mirror.settle(SETTLE_SECONDS):
            return False
        try:
            await self._note(mirror, LEDGER, ledger.entry())
        except StoreFenced as error:
            return not mirror.refused(error)
        except StoreError:
            pass  # the ledger alone is no reason to hold a turn up: the next one brings it
        return True

    async def put_away(self, ledger: Ledger) -> None:
        """Have conversation and workspace stored, so that the pod can go. Raises CannotKeep."""
        if await self.settle(ledger) is False:
            raise CannotKeep("StoreBehind", "The session store does not have the whole transcript yet.")
        if self._vault is None:
            return
        began = time.monotonic()
        try:
            saved = await self._vault.save(self._session_id, self._trees(), self._mark)
        except ArchiveError as error:
            raise CannotKeep("ArchiveFailed", f"The workspace cannot be archived: {error}") from None
        if not saved.unchanged:
            metrics.archived("saved", saved.bytes, time.monotonic() - began)
        self.archive = Archive(generation=saved.generation, size=saved.bytes, digest=f"sha256:{saved.sha256}")

    async def close(self, *, forget: bool = False) -> None:
        """Stop to copy. `forget`: nothing is stored from then on, since what was removed would be there again.

        What is on its way to the store then is there when this returns, for whoever removes it.
        """
        mirror = self._mirror
        if forget:
            self._store = self._vault = self._mirror = None
        if mirror is not None:
            await mirror.close(forget=forget)
        async with self._noting:
            pass

    async def _note(self, mirror: Mirror, subpath: str, entry: Entry) -> None:
        """Have one of our own notes in the store. Raises StoreError."""
        async with self._noting:
            if (store := self._store) is None:
                raise StoreRefused("what is stored of this session is removed")
            await mirror.claim.require()
            await store.replace(self.files.key(subpath), as_stored([entry]))

    async def _load(self, files: TranscriptFiles) -> list[Entry] | None:
        """Return what the store has of a conversation; None without a store."""
        return None if self._store is None else as_entries(await self._store.load(files.key()))

    async def _find(self, wanted: Activation, *, left_here: bool) -> Found:
        """Find what there is, and have it on the disk; a workspace that was left here is newer than any archive."""
        if self._mirror is not None:
            # Before it is read: what is read then is all that earlier pods will ever have written.
            await self._mirror.claim.make(wanted.epoch)
        stored = await self._load(self.files)
        disk = await asyncio.to_thread(read_all, self.files.main)
        verdict = judge(disk, stored, _expected(wanted))
        require(verdict.fit, wanted)
        source = _fork_source(verdict, wanted)
        if not left_here:
            await self._restore(source or self._session_id)
        entries = await self._settled_on(verdict, disk, stored or [])
        if source is not None:
            await self._fork(source)
        ledger, announced = await self._ledger(), await self._announced()
        if self._mirror is not None:
            await self._mirror.begin()
        return taken_up(beginning(verdict, source), entries, ledger, wanted, source, announced)

    async def _find_on_disk(self, wanted: Activation, noted: Ledger, error: StoreError) -> Found:
        """Go on by the disk alone while the store cannot be used."""
        assert self._mirror is not None
        disk = await asyncio.to_thread(read_all, self.files.main)
        verdict = judge(disk, None, _expected(wanted))
        require(verdict.fit, wanted)
        if _fork_source(verdict, wanted) is not None:
            raise unusable(error)
        self._mirror.begin_unseen(error)
        return taken_up(beginning(verdict, None), disk, noted, wanted, None)

    async def _announced(self) -> str | None:
        """Return the last message whose turn was announced."""
        if self._store is None:
            return None
        stored = as_entries(await self._store.load(self.files.key(BEGUN)))
        return str(stored[-1].get("message")) if stored else None

    async def _ledger(self) -> Ledger:
        """Return the ledger that goes further: the store's, or the disk's."""
        if self._store is None:
            return kept(self._places.own)
        stored = as_entries(await self._store.load(self.files.key(LEDGER)))
        return later(kept(self._places.own), read(stored[-1] if stored else None))

    async def _restore(self, session_id: str) -> None:
        """Bring the archived workspace back; one that is here already is left alone."""
        if self._vault is None:
            return
        began = time.monotonic()
        try:
            found = await self._vault.restore(session_id, self._trees(), self._mark)
        except ArchiveError as error:
            raise Problem(503, "archive-failed", f"The workspace cannot be restored: {error}") from None
        if found is not None and not found.present:
            metrics.archived("restored", found.bytes, time.monotonic() - began)

    async def _settled_on(self, verdict: Verdict, disk: list[Entry], stored: list[Entry]) -> list[Entry]:
        """Have the conversation on disk, and in the store."""
        if verdict.source is Source.STORE:
            await self._fetch(self.files, None, stored)
            return stored
        if verdict.mend_store and self._store is not None:
            await self._store.replace(self.files.key(), as_stored(disk))
        return disk

    async def _fetch(self, files: TranscriptFiles, source: TranscriptFiles | None, entries: list[Entry]) -> None:
        """Write a conversation from the store, with those of its subagents, to where the CLI looks for it."""
        assert self._store is not None
        origin = source or files
        await asyncio.to_thread(files.write, None, entries)
        project = {"project_key": origin.project_key, "session_id": origin.session_id}
        for subpath in await self._store.list_subkeys(cast(SessionListSubkeysKey, project)):
            if subpath.startswith(OURS):
                continue
            found = await self._store.load(origin.key(subpath))
            try:
                await asyncio.to_thread(files.write, subpath, as_entries(found))
            except ValueError as error:
                raise StoreRefused(str(error)) from None

    async def _fork(self, source: str) -> None:
        """Put another session's conversation where the CLI can copy it from; it does so with the first message."""
        folder = self._places.workspace.parent / source
        origin = TranscriptFiles(self._places.config, folder, source)
        entries = await self._load(origin)
        if not entries or not says_something(entries):
            raise Problem(409, "fork-source-missing", "The session to begin with a copy of has no stored conversation.")
        here = TranscriptFiles(self._places.config, self._places.workspace, source)
        await self._fetch(here, origin, entries)

    def _trees(self) -> dict[str, Path | Tree]:
        return {"workspace": self._places.workspace, "memory": memory_tree(self._places.config)}

    @property
    def _mark(self) -> Path:
        return self._places.own / "archive.json"


def _expected(wanted: Activation) -> Transcript | None:
    """Return what the control plane remembers; that there were turns at all means that there was something."""
    if wanted.transcript is None and wanted.usage is not None and wanted.usage.turns > 0:
        return Transcript(entries=1)
    return wanted.transcript


def _fork_source(verdict: Verdict, wanted: Activation) -> str | None:
    """Return the session to begin with a copy of, if there is nothing of the session's own."""
    fresh = verdict.source is Source.NOTHING and verdict.fit is Fit.WHOLE
    return str(wanted.fork_from) if fresh and wanted.fork_from is not None else None
