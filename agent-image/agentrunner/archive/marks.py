"""What a place knows of its trees' archive: which generation they are, and what they looked like then. A small file."""

from pathlib import Path

from pydantic import Field, ValidationError

from agentrunner.serving.files import load, save
from agentsessions.api.base import ApiModel


class Mark(ApiModel):
    """The trees here are that archive of `session`, by generation and hash, as long as their fingerprint is the same.

    `writer` stands for this place: an archive that names it was packed from here, whatever else the mark says.
    `roots` are the inodes of the trees' directories. `unpacking` is true from before an archive is moved into place
    until all of it is there.
    """

    session: str
    writer: str
    generation: int = 0
    sha256: str = ""
    fingerprint: str = ""
    roots: dict[str, int] = Field(default_factory=dict)
    unpacking: bool = False


def read_mark(path: Path) -> Mark | None:
    """Return the mark; None where nothing was ever packed or unpacked."""
    try:
        return Mark.model_validate(load(path) or {})
    except ValidationError:
        return None


def write_mark(path: Path, mark: Mark) -> None:
    """Replace the mark; when this returns it is on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, mark.to_json())
