"""The archive of sessions' workspaces: saved whole when anything has changed, restored whole or not at all.

Saving:     survey, upload under a new name, then replace the manifest, then remove archives before the last two.
Restoring:  unpack beside the tree while downloading, hold against the manifest, then move into place.

So wherever it breaks off, the bucket has a manifest and the whole archive that it names, and the trees are what they
were or are unpacked anew. One caller at a time for a session; sessions wait for each other only for one of a few slots.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

from agentrunner.archive.errors import ArchiveConflict, ArchiveError, ArchiveTooLarge
from agentrunner.archive.lineage import is_here, is_saved, require_succession, settled
from agentrunner.archive.manifest import Manifest, folder, manifest_key, new_name, outdated, parse, part_key
from agentrunner.archive.marks import Mark, read_mark, write_mark
from agentrunner.archive.shelf import Objects, Shelf, open_bucket
from agentrunner.archive.threads import on_disk
from agentrunner.archive.transfer import receive, send
from agentrunner.archive.trees import SCRATCH, Tree, clear, clear_scratch, inode, occupied, survey
from agentrunner.archive.unpacking import Unpacking
from agentsessions.api.host import ArchiveSettings

TRANSFERS = 2
"""Archives on their way at once: each takes a thread, and memory for two parts."""

_ROOM = 2
"""An archive may be larger than `max_bytes` by this factor, should that have been lowered since it was packed."""

_MANIFEST_BYTES = 1024

Trees = Mapping[str, Path | Tree]


@dataclass(frozen=True, slots=True)
class Saved:
    """What the bucket holds of a session now. `bytes` are compressed; `torn` files changed while they were read."""

    generation: int
    sha256: str
    bytes: int
    files: int
    unchanged: bool
    torn: int = 0


@dataclass(frozen=True, slots=True)
class Restored:
    """What the trees hold now; `present` is true if they held it, or what became of it, already."""

    generation: int
    sha256: str
    bytes: int
    files: int
    present: bool


class Vault:
    """Archives in one bucket. All raise ArchiveError. `marks` is a small file of the session's, outside its trees."""

    def __init__(self, settings: ArchiveSettings, objects: Objects | None = None) -> None:
        self._settings = settings
        self._shelf = Shelf(objects or open_bucket(settings), settings.s3.bucket)
        self._slots = asyncio.Semaphore(TRANSFERS)

    async def save(self, session_id: str, trees: Trees, marks: Path) -> Saved:
        """Pack the trees and put them into the bucket, unless it has exactly what they are."""
        place, known = self._folder(session_id), _as_trees(trees)
        found = await on_disk(lambda: survey(known))
        if found.bytes > self._settings.max_bytes:
            raise ArchiveTooLarge(found.bytes, self._settings.max_bytes)
        mark, old = await on_disk(lambda: read_mark(marks)), await self._manifest(place)
        if old is not None and is_saved(mark, old, session_id, found):
            return Saved(old.generation, old.sha256, old.bytes, old.files, unchanged=True)
        require_succession(mark, old, session_id)
        mark = mark or Mark(session=session_id, writer=token_hex(16))
        await _keep(marks, mark)  # before the manifest, which is known by its writer
        new, torn = await self._send(place, known, old, mark.writer)
        await self._replace(place, old, new)
        await _keep(marks, settled(mark, session_id, new, found))
        await self._tidy(place, new.generation)
        return Saved(new.generation, new.sha256, new.bytes, new.files, unchanged=False, torn=torn)

    async def restore(self, session_id: str, trees: Trees, marks: Path) -> Restored | None:
        """Fill the trees, which must be empty, with what the bucket has; None if it has nothing.

        Trees that were restored or saved here already are left alone.
        """
        place, known = self._folder(session_id), _as_trees(trees)
        manifest = await self._manifest(place)
        mark = await on_disk(lambda: _recover(known, marks))
        if manifest is None:
            return None
        present = is_here(mark, manifest, session_id) and not await on_disk(lambda: _lost(mark, known))
        if not present:
            await self._fetch(place, manifest, session_id, known, marks)
        return Restored(manifest.generation, manifest.sha256, manifest.bytes, manifest.files, present)

    async def expect(self, session_id: str) -> Manifest | None:
        """Return what the bucket has of a session; None if it has nothing."""
        return await self._manifest(self._folder(session_id))

    async def delete(self, session_id: str) -> None:
        """Remove all that the bucket has of a session; the manifest goes first, so that half of it is nothing."""
        place = self._folder(session_id)
        await self._shelf.delete([manifest_key(place)])
        await self._shelf.delete(list(await self._shelf.sizes(place)))

    async def close(self) -> None:
        """End the use of the bucket; its connections are closed when they have been idle."""

    def _folder(self, session_id: str) -> str:
        return folder(self._settings.prefix, session_id)

    async def _manifest(self, place: str) -> Manifest | None:
        document = await self._shelf.get(manifest_key(place), _MANIFEST_BYTES)
        return None if document is None else parse(document)

    async def _send(
        self, place: str, trees: Mapping[str, Tree], old: Manifest | None, writer: str
    ) -> tuple[Manifest, int]:
        """Put an archive under a name of its own; return what it is, and how many files are torn."""
        generation = (old.generation if old else 0) + 1
        name = new_name(generation)
        async with self._slots:
            sent = await send(self._shelf, place, name, trees, self._settings.max_bytes)
        manifest = Manifest(
            generation=generation,
            name=name,
            parts=sent.parts,
            sha256=sent.tally.sha256,
            bytes=sent.tally.packed,
            uncompressed_bytes=sent.tally.plain,
            files=sent.tally.files,
            writer=writer,
            time=datetime.now(UTC),
        )
        return manifest, sent.tally.torn

    async def _replace(self, place: str, old: Manifest | None, new: Manifest) -> None:
        """Have the new archive be the one that holds, unless another pod has put one there meanwhile."""
        if await self._manifest(place) != old:
            await self._shelf.delete([part_key(place, new.name, number) for number in range(new.parts)])
            raise ArchiveConflict("another pod has saved the session meanwhile: this one's files are not the latest")
        # If no answer comes it may hold all the same: from here on the archive must not be removed.
        await self._shelf.put(manifest_key(place), new.model_dump_json(by_alias=True).encode())

    async def _tidy(self, place: str, generation: int) -> None:
        """Remove archives before the last two. The new one is safe already: what fails is done after the next."""
        with suppress(ArchiveError):
            await self._shelf.delete(outdated(await self._shelf.sizes(place), place, generation))

    async def _fetch(
        self, place: str, manifest: Manifest, session_id: str, trees: Mapping[str, Tree], marks: Path
    ) -> None:
        """Unpack an archive into trees that are empty."""
        if manifest.uncompressed_bytes > _ROOM * self._settings.max_bytes:
            raise ArchiveTooLarge(manifest.uncompressed_bytes, self._settings.max_bytes)
        await on_disk(lambda: _require_empty(trees))
        roots = {name: tree.root for name, tree in trees.items()}
        unpacking = Unpacking({name: root / SCRATCH for name, root in roots.items()})
        mark = Mark(session=session_id, writer=token_hex(16), unpacking=True)
        try:
            await on_disk(unpacking.begin)
            async with self._slots:
                await receive(self._shelf, place, manifest, unpacking)
            await _keep(marks, mark)
            await on_disk(lambda: unpacking.place(roots))
        finally:
            await on_disk(lambda: _clear_scratches(trees))
        found = await on_disk(lambda: survey(trees))
        await _keep(marks, settled(mark, session_id, manifest, found))


async def _keep(marks: Path, mark: Mark) -> None:
    await on_disk(lambda: write_mark(marks, mark))


def _as_trees(trees: Trees) -> dict[str, Tree]:
    return {name: one if isinstance(one, Tree) else Tree(one) for name, one in trees.items()}


def _recover(trees: Mapping[str, Tree], marks: Path) -> Mark | None:
    """Remove what an unpacking that was cut short has left; return the mark, if it is of anything whole."""
    _clear_scratches(trees)
    mark = read_mark(marks)
    if mark is None or not mark.unpacking:
        return mark
    for tree in trees.values():
        clear(tree)
    marks.unlink()
    return None


def _clear_scratches(trees: Mapping[str, Tree]) -> None:
    for tree in trees.values():
        clear_scratch(tree.root)


def _lost(mark: Mark | None, trees: Mapping[str, Tree]) -> bool:
    """Return whether a tree is another directory than the one that was marked, with nothing in it."""
    roots = mark.roots if mark is not None else {}
    return any(roots.get(name) != inode(tree) and not occupied(tree) for name, tree in trees.items())


def _require_empty(trees: Mapping[str, Tree]) -> None:
    for name, tree in trees.items():
        if occupied(tree):
            raise ArchiveConflict(f"'{name}' has files already that are not from the archive: they would be lost")
