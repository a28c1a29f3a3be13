"""Whether what is on disk and what is in the bucket follow from each other. Pure."""

from agentrunner.archive.errors import ArchiveConflict
from agentrunner.archive.manifest import Manifest
from agentrunner.archive.marks import Mark
from agentrunner.archive.trees import Survey


def is_saved(mark: Mark | None, manifest: Manifest | None, session: str, found: Survey) -> bool:
    """Return whether the bucket holds exactly what was found on disk."""
    if mark is None or manifest is None or mark.unpacking:
        return False
    return _is_that(mark, manifest, session) and mark.fingerprint == found.fingerprint


def is_here(mark: Mark | None, manifest: Manifest, session: str) -> bool:
    """Return whether the disk holds that archive, or what became of it."""
    if mark is None or mark.unpacking:
        return False
    return _is_that(mark, manifest, session) or mark.writer == manifest.writer


def require_succession(mark: Mark | None, manifest: Manifest | None, session: str) -> None:
    """Raise ArchiveConflict if the bucket has what this disk never had: to save would be to lose it."""
    if mark is None:
        return
    if mark.unpacking:
        raise ArchiveConflict("the workspace was not unpacked to the end: restore it first")
    if manifest is not None and mark.session == session and not is_here(mark, manifest, session):
        raise ArchiveConflict(
            f"the bucket has generation {manifest.generation} of the workspace, packed by another pod after this one's "
            f"{mark.generation}: this one's files are not the latest"
        )


def settled(mark: Mark, session: str, manifest: Manifest, found: Survey) -> Mark:
    """Return the mark for a disk that holds exactly that archive."""
    return mark.model_copy(
        update={
            "session": session,
            "generation": manifest.generation,
            "sha256": manifest.sha256,
            "fingerprint": found.fingerprint,
            "roots": found.roots,
            "unpacking": False,
        }
    )


def _is_that(mark: Mark, manifest: Manifest, session: str) -> bool:
    return (mark.session, mark.generation, mark.sha256) == (session, manifest.generation, manifest.sha256)
