"""Copies what the CLI writes into the session store: in order, as it is written, and never at the cost of a turn.

The copy is made from the transcript files, line by line, so that the store has exactly what the disk has. The SDK's own
mirror passes on only some kinds of lines, stalls its control messages while a store is slow, and drops what a store
refuses; it serves here as a signal: what it names must be in the file before a turn counts as written.

What the store has is only ever added to, or replaced when all of it is on this disk too. Where it has what the disk has
not, another pod wrote it, or the disk lost it: then nothing is overwritten, and the copying stands still.

A pod that others believe lost may live on; once the next one has claimed the session, the store takes nothing from it
any more, and it learns of that here.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from claude_agent_sdk import SessionKey

from agentrunner.keeping.claim import Claim
from agentrunner.keeping.copies import Copy
from agentrunner.keeping.files import TranscriptFiles, as_entries, as_stored, digests, uuids
from agentrunner.keeping.sdkstore import Signal
from agentrunner.lines import Entry, Tail, digest
from agentrunner.serving import metrics
from agentrunner.stores.base import Store, StoreError, StoreFenced, StoreRefused, StoreUnreachable
from agentrunner.waiting import within

_FIRST_BACKOFF, _LAST_BACKOFF, _FOREIGN_BACKOFF = 0.5, 10.0, 300.0
_CLAIM_SECONDS = 15.0
"""How often a pod that writes nothing looks whether another one has the session: its tools may be at work still."""
_FILE_SECONDS = 2.0
"""How long the CLI may take to write what it has announced."""


class Foreign(Exception):
    """The store has what is not on this disk."""


class Mirror:
    """The copying of one session. `on_change` is called when `durable`, `problem` or `fenced` changes."""

    def __init__(self, store: Store, files: TranscriptFiles, on_change: Callable[[], None]) -> None:
        self.claim = Claim(store, {"project_key": files.project_key, "session_id": files.session_id})
        self.fenced = False
        self.signal = Signal(self._heard)  # type: ignore[abstract]  # the rest of the protocol is optional
        self.problem: str | None = None
        self.repairs = 0
        self._forgotten = False
        self._given = store
        self._files = files
        self._on_change = on_change
        self._copies: dict[str | None, Copy] = {}
        self._announced: set[str] = set()
        self._behind = False
        self._waiting = 0
        self._news = asyncio.Event()
        self._turn = asyncio.Lock()
        self._pump: asyncio.Task[None] | None = None

    @property
    def _store(self) -> Store:
        if self._forgotten:
            raise StoreRefused("what is stored of this session is removed")
        return self._given

    @property
    def durable(self) -> bool:
        """Whether the store has all that was written before the last look."""
        return not self._behind

    async def begin(self) -> None:
        """Go on from what the store has now, and copy from then on. Raises StoreError."""
        for subpath in [None, *self._files.subpaths()]:
            with suppress(Foreign):  # which the first push finds again, and tells
                await self._compare(subpath, self._copy(subpath))
        self._start()

    def begin_unseen(self, error: StoreError) -> None:
        """Go on from what the store has once it, which cannot be read now, answers."""
        self._failed(error)
        self._start()

    def _start(self) -> None:
        if self._pump is None:
            self._pump = asyncio.create_task(self._work(), name=f"mirror {self._files.session_id}")
        self._say_waiting()
        self._news.set()

    async def settle(self, seconds: float) -> bool:
        """Have all that was written in the store, and see that it is there; return whether it is, in that time."""
        try:
            with metrics.settle_seconds.time():
                async with asyncio.timeout(seconds):
                    await self.written()
                    async with self._turn:
                        await self._push()
                        await self._verify()
        except Exception as error:
            self._failed(error)
            self._news.set()
        return self.durable

    async def claim_as(self, epoch: int | None) -> None:
        """Claim under another number, with no write under way. Raises StoreError."""
        async with self._turn:
            await self.claim.make(epoch)

    def refused(self, error: StoreFenced) -> bool:
        """Take note of a refusal that was met elsewhere; return whether another pod has the session."""
        if not self.claim.is_ours(error):
            self._failed(error)
        return self.fenced

    async def close(self, *, forget: bool = False) -> None:
        """Stop to copy; `forget`: the store is given nothing more, and has what was on its way when this returns."""
        if forget:
            self._forgotten = True
            self.claim.forget()
            async with self._turn:
                pass
        if self._pump is not None:
            self._pump.cancel()
            with suppress(asyncio.CancelledError):
                await self._pump
            self._pump = None
        self.claim.release()
        self._say_waiting()

    def _heard(self, key: SessionKey, entries: Iterable[Entry]) -> None:
        if not key.get("subpath"):
            self._announced.update(uuids(entries))
        self._news.set()

    async def written(self) -> bool:
        """Wait until the file has what the CLI says it has written; return whether it has: one that died never may."""
        until, whole = time.monotonic() + _FILE_SECONDS, False
        while time.monotonic() < until:
            async with self._turn:
                self._look()
            if whole := not self._announced - self._copy(None).seen:
                break
            await asyncio.sleep(0.02)
        self._announced.clear()
        return whole

    async def _work(self) -> None:
        """Copy whenever there is something, and again after a while when the store fails."""
        wait = _FIRST_BACKOFF
        while not self.fenced:
            quiet = not await self._heard_in_time()
            try:
                async with self._turn:
                    if quiet:
                        await self.claim.look()
                    else:
                        await self._push()
                wait = _FIRST_BACKOFF
            except Exception as error:
                self._failed(error)
                await asyncio.sleep(wait)
                wait = min(wait * 2, _FOREIGN_BACKOFF if isinstance(error, Foreign) else _LAST_BACKOFF)
                self._news.set()

    async def _heard_in_time(self) -> bool:
        """Wait for something to copy, for a while; return whether there is."""
        await within(_CLAIM_SECONDS, self._news.wait())
        heard = self._news.is_set()
        self._news.clear()
        return heard

    async def _push(self) -> None:
        """Bring the store up to the files."""
        await self.claim.require()
        self._look()
        for subpath, copy in self._copies.items():
            await self._push_one(subpath, copy)
        self._well()

    def _look(self) -> None:
        """Read what was added to the files."""
        for subpath in [None, *self._files.subpaths()]:
            copy = self._copy(subpath)
            fresh, other = copy.tail.take()
            if other:
                copy.waiting, copy.unsure = [], True
                copy.seen.clear()
            meta = self._metadata(subpath)
            if meta is not None and meta != copy.metadata:
                copy.metadata = meta
                fresh.append(meta)
            copy.waiting += fresh
            copy.seen.update(uuids(fresh))
        self._say_waiting()

    async def _push_one(self, subpath: str | None, copy: Copy) -> None:
        key = self._files.key(subpath)
        if copy.doubtful or copy.unsure:
            await self.claim.look()  # not every store says by what it returns that the session is another's
        if copy.doubtful:
            await self._clear_up(key, copy)
        if copy.unsure:
            await self._compare(subpath, copy)
        if copy.waiting:
            # A copy of the list: what is read meanwhile goes into the next batch.
            batch, copy.doubtful = list(copy.waiting), True
            await self._store.append(key, as_stored(batch))
            self._sent(copy, len(batch))

    async def _clear_up(self, key: SessionKey, copy: Copy) -> None:
        """Find out what became of a write whose answer never came; if a part of it did, both sides are compared."""
        has = await self._store.count(key)
        if has == copy.stored + len(copy.waiting):
            self._sent(copy, len(copy.waiting))
        elif has != copy.stored:
            copy.unsure = True
        copy.doubtful = False

    async def _compare(self, subpath: str | None, copy: Copy, *, mend: bool = False) -> None:
        """Find what the store lacks; one that lost some in between, or is to be mended, gets it all. Raises Foreign."""
        key = self._files.key(subpath)
        theirs = as_entries(await self._store.load(key))
        copy.tail, copy.metadata = Tail(copy.tail.path), self._metadata(subpath)
        ours, _ = copy.tail.take()
        known, here = digests(subpath, theirs), [digest(entry) for entry in ours]
        meta = [] if copy.metadata is None or copy.metadata in theirs else [copy.metadata]
        copy.seen = set(uuids(ours))
        if here[: len(known)] == known and not mend:
            copy.stored, copy.waiting = len(theirs), ours[len(known) :] + meta
        elif set(known) <= set(here):
            whole = ours + ([copy.metadata] if copy.metadata is not None else [])
            await self._store.replace(key, as_stored(whole))
            metrics.entries_copied.inc(len(whole))
            copy.stored, copy.waiting = len(whole), []
        else:
            raise Foreign
        copy.unsure = copy.doubtful = False
        self._say_waiting()

    def _metadata(self, subpath: str | None) -> Entry | None:
        return self._files.metadata(subpath) if subpath is not None else None

    def _sent(self, copy: Copy, number: int) -> None:
        metrics.entries_copied.inc(number)
        copy.stored, copy.waiting, copy.doubtful = copy.stored + number, copy.waiting[number:], False
        self._say_waiting()

    async def _verify(self) -> None:
        """See that the store still has what it took; one that lost some gets it back from the disk."""
        for subpath, copy in self._copies.items():
            if copy.stored and await self._store.count(self._files.key(subpath)) != copy.stored:
                await self.claim.look()
                self._changed("StoreBehind")
                copy.unsure = True  # until it is mended: nothing is added to what is not as it was left
                await self._compare(subpath, copy, mend=True)
                if await self._store.count(self._files.key(subpath)) != copy.stored:
                    copy.unsure = True
                    raise StoreUnreachable("the session store does not keep what it takes")
                self.repairs += 1
                metrics.repairs.inc()
        self._well()

    def _copy(self, subpath: str | None) -> Copy:
        return self._copies.setdefault(subpath, Copy(Tail(self._files.path(subpath))))

    def _say_waiting(self) -> None:
        """Have the host's gauge, which is of all sessions, hold what waits of this one while it is copied."""
        before, at_work = self._waiting, self._pump is not None
        self._waiting = sum(len(copy.waiting) for copy in self._copies.values()) if at_work else 0
        metrics.entries_waiting.inc(self._waiting - before)

    def _failed(self, error: Exception) -> None:
        kind, problem = "unreachable", "StoreUnreachable"
        if isinstance(error, StoreRefused):
            kind, problem = "refused", "StoreRefused"
        elif isinstance(error, Foreign):
            kind, problem = "foreign", "TranscriptDiverged"
        elif isinstance(error, StoreFenced) and not self.claim.is_ours(error):
            kind, problem, self.fenced = "fenced", "Fenced", True
        metrics.store_failures.labels(kind).inc()
        self._changed(problem)

    def _well(self) -> None:
        if self._behind:
            self._behind, self.problem = False, None
            self._on_change()

    def _changed(self, problem: str) -> None:
        if not self._behind or self.problem != problem:
            self._behind, self.problem = True, problem
            self._on_change()
