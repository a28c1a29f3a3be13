"""All sessions of a host: given to it, made by a first message, found again on its disk, taken from it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from secrets import token_hex
from typing import Literal
from weakref import WeakValueDictionary

from pydantic import ValidationError

from agentrunner import oom
from agentrunner.events import EventLog as PodLog
from agentrunner.keeping.backends import Keeping
from agentrunner.keeping.found import Found
from agentrunner.keeping.keeper import Keeper
from agentrunner.serving.bill import has_spoken
from agentrunner.serving.conversation import Conversation
from agentrunner.serving.disk import sessions_root
from agentrunner.serving.endings import MOVED
from agentrunner.serving.files import load, save
from agentrunner.serving.places import SessionPlaces, session_places
from agentrunner.serving.problems import Problem, draining, not_found, not_here
from agentrunner.serving.processes import end_all
from agentrunner.serving.settings import HostSettings
from agentrunner.serving.standing import Identity, Surroundings
from agentrunner.serving.tokens import Caller
from agentsessions.api.host import Activation, Beginning, HostSnapshot, Origin, Scope

_FILE = "session.json"


Files = Literal["keep", "delete"]
"""What becomes of the files of a session that its host lets go of."""

Wish = tuple[str, Files, bool]
"""A removal that is asked for: the session, what becomes of its files, and whether they are archived before."""


class Registry:
    """The sessions of one host. `on_change` is told the id of every session that changed, came or went."""

    def __init__(
        self, host: HostSettings, log: PodLog, on_change: Callable[[str], None], keeping: Keeping | None = None
    ) -> None:
        self._host = host
        self._log = log
        self._on_change = on_change
        self._keeping = keeping or Keeping()
        self._sessions: dict[str, Conversation] = {}
        self._coming: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._fenced: dict[str, asyncio.Task[None]] = {}
        self._reserved = 0
        self._kills = oom.counter() if host.document.sessions_per_host == 1 else None
        self.incarnation = token_hex(6)
        self.draining = False
        self._removals: dict[Wish, asyncio.Task[None]] = {}

    @property
    def conversations(self) -> list[Conversation]:
        """All sessions."""
        return list(self._sessions.values())

    def snapshot(self) -> HostSnapshot:
        """Return all that the host knows of itself."""
        return HostSnapshot(
            pod_uid=self._host.pod_uid,
            incarnation=self.incarnation,
            capacity=self._host.document.sessions_per_host,
            draining=self.draining,
            sessions=[one.state() for one in self._sessions.values()],
        )

    def get(self, session_id: str) -> Conversation | None:
        """Return a session that the host has."""
        return self._sessions.get(session_id)

    async def find(self, session_id: str, caller: Caller) -> Conversation:
        """Return the session that a caller asks for; one without a resource is made by asking. Raises Problem."""
        if (found := self._sessions.get(session_id)) is not None:
            return found
        if caller.scope in (Scope.SESSION, Scope.PORTS):  # a gateway that has not heard of its leaving
            raise not_here()
        if caller.scope is not Scope.IMPLICIT:
            raise not_found()
        return await self._given(self._implicit(session_id, caller), Origin.IMPLICIT)

    async def activate(self, wanted: Activation) -> Conversation:
        """Take a session, or take note of how it is to be run from now on. Raises Problem."""
        known = self._sessions.get(str(wanted.session_id))
        if known is not None:
            await known.require(wanted)
            known.change(wanted.settings)
            known.on_delete = wanted.on_delete
            await known.refresh()
            self._keep(known, wanted)
        found = known or await self._given(wanted, Origin.NAMED)
        await found.start()
        if known is None and wanted.on_interrupted_turn == "Continue":
            found.go_on()
        return found

    async def remove(self, session_id: str, files: Files, reason: str = "session-closed") -> None:
        """Let go of a session; with its files unless they are to be kept. Whoever gives it back meanwhile waits."""
        await asyncio.shield(self.removal(session_id, files, reason))

    def removal(
        self, session_id: str, files: Files, reason: str = "session-closed", *, archive: bool = False
    ) -> asyncio.Task[None]:
        """Begin to let go of a session; who asks for the same again meanwhile gets the same.

        `archive` is for one whose resource is gone: its workspace is archived before, unless nothing of it is to stay.
        A host that stops waits for that, whoever has asked for it.
        """
        wish: Wish = session_id, files, archive
        if (known := self._removals.get(wish)) is not None:
            return known
        begun = asyncio.create_task(self._removed(session_id, files, reason, archive), name=f"removing {session_id}")
        self._removals[wish] = begun
        begun.add_done_callback(lambda ended: self._over(wish, ended))
        return begun

    def _over(self, wish: Wish, removal: asyncio.Task[None]) -> None:
        """Say of a removal that failed that it did: who has asked for it may not wait."""
        self._removals.pop(wish, None)
        if not removal.cancelled() and (error := removal.exception()) is not None:
            self._log.emit("removalFailed", sessionId=wish[0], error=type(error).__name__)

    async def _removed(self, session_id: str, files: Files, reason: str, archive: bool) -> None:
        async with self._coming.setdefault(session_id, asyncio.Lock()):
            await self._remove(session_id, files, reason, archive)

    async def _remove(self, session_id: str, files: Files, reason: str, archive: bool) -> None:
        found = self._sessions.pop(session_id, None)
        places = session_places(self._host, session_id)
        try:
            if found is not None:
                await found.close(reason, archive=archive)
        finally:  # it is no longer here, whatever failed: nobody else would ever remove its files
            await _cleared(places, files)
            if found is not None:
                self._on_change(session_id)

    async def reopen(self) -> None:
        """Take up the sessions that an earlier process of this host left on disk; their CLIs start when asked."""
        root = sessions_root(self._host.state)
        paths = sorted(root.glob(f"*/{_FILE}")) if root.exists() else []
        results = await asyncio.gather(*(self._reopen_one(path) for path in paths), return_exceptions=True)
        for path, result in zip(paths, results, strict=True):
            if isinstance(result, Exception):  # the control plane gives it to us again, and is told why not
                reason = result.slug if isinstance(result, Problem) else type(result).__name__
                self._log.emit("sessionNotReopened", folder=path.parent.name, reason=reason)

    async def close(self, seconds: float) -> None:
        """Take no more turns, let those that run finish within `seconds`, then end all.

        Each session leaves when its own turn has ended, and may go on elsewhere while others still end theirs.
        """
        self.draining = True
        for one in self.conversations:
            one.drain()
        leaving = (one.leave(seconds) for one in self.conversations)
        await asyncio.gather(*leaving, *self._removals.values(), return_exceptions=True)

    async def _given(self, wanted: Activation, origin: Origin) -> Conversation:
        """Take a session that is new to this host; whoever asks for it meanwhile gets the same one."""
        session_id = str(wanted.session_id)
        async with self._coming.setdefault(session_id, asyncio.Lock()):
            if (known := self._sessions.get(session_id)) is not None:
                return known
            self._require_room()
            self._reserved += 1
            try:
                return await self._take(wanted, origin)
            finally:
                self._reserved -= 1

    async def _take(self, wanted: Activation, origin: Origin) -> Conversation:
        """Find the session's conversation and begin with it. Raises Problem."""
        keeper = self._keeper(str(wanted.session_id))
        try:
            found = await keeper.find(wanted)
        except BaseException:
            await keeper.close()
            raise
        conversation = self._add(wanted, origin, keeper, found)
        self._keep(conversation, wanted)
        return conversation

    def _implicit(self, session_id: str, caller: Caller) -> Activation:
        """Return the activation of a session that nobody declared."""
        document = self._host.document
        if document.implicit is None:
            raise Problem(403, "implicit-disabled", "This pool serves sessions that have a resource only.")
        return Activation.model_validate(
            {
                "version": 1,
                "session_id": session_id,
                "namespace": caller.namespace or document.namespace,
                "name": caller.name,
                "settings": document.implicit,
            }
        )

    async def _reopen_one(self, path: Path) -> None:
        stored = load(path) or {}
        try:
            wanted = Activation.model_validate(stored["activation"])
            origin = Origin(stored["origin"])
        except (KeyError, ValueError, ValidationError):
            self._log.emit("sessionUnreadable", folder=path.parent.name)
            return
        keeper = self._keeper(str(wanted.session_id))
        found = await keeper.find_again(wanted)
        if found.beginning is Beginning.FRESH and has_spoken(path.parent):
            # What that means is for whoever gives it to this host again to say.
            self._log.emit("conversationMissing", sessionId=str(wanted.session_id))
            await keeper.close()
            return
        conversation = self._add(wanted, origin, keeper, found)
        if wanted.on_interrupted_turn == "Continue":
            conversation.go_on()

    def _require_room(self) -> None:
        if self.draining:
            raise draining()
        if len(self._sessions) + self._reserved >= self._host.document.sessions_per_host:
            raise Problem(507, "host-full", "This host holds as many sessions as it may.", {"Retry-After": "5"})

    def _keeper(self, session_id: str) -> Keeper:
        places = session_places(self._host, session_id)
        places.make()
        return Keeper(session_id, places, self._keeping, lambda: self._on_storage(session_id))

    def _on_storage(self, session_id: str) -> None:
        """Tell what has changed about a session's storage; let go of one that another pod has taken up."""
        found = self._sessions.get(session_id)
        if found is not None and found.fenced and session_id not in self._fenced:
            self._log.emit("sessionFenced", sessionId=session_id)
            leaving = asyncio.create_task(self.remove(session_id, "keep", MOVED), name=f"fenced {session_id}")
            self._fenced[session_id] = leaving
            leaving.add_done_callback(lambda _: self._fenced.pop(session_id, None))
        self._on_change(session_id)

    def _add(self, wanted: Activation, origin: Origin, keeper: Keeper, found: Found) -> Conversation:
        session_id = str(wanted.session_id)
        conversation = Conversation(
            Identity(session_id, wanted.namespace, wanted.name, origin),
            wanted.settings,
            session_places(self._host, session_id),
            keeper,
            found,
            Surroundings(self._log, self._host.document.max_queued_messages, self._on_change, self._kills),
        )
        conversation.on_delete = wanted.on_delete
        self._sessions[session_id] = conversation
        self._on_change(session_id)
        return conversation

    def _keep(self, conversation: Conversation, wanted: Activation) -> None:
        """Write down what the session is, for the process that comes after this one."""
        document = {"version": 1, "origin": conversation.who.origin, "activation": wanted.to_json()}
        save(conversation.places.own / _FILE, document)


async def _cleared(places: SessionPlaces, files: Files) -> None:
    """Leave nothing of a session that is to go."""
    try:
        # What its agent left running in the background belongs to nobody now.
        await asyncio.to_thread(end_all, places.config)
    finally:
        if files == "delete":
            await asyncio.to_thread(places.remove)
        else:
            (places.own / _FILE).unlink(missing_ok=True)
