"""Names and the manifest of a session's archive in the bucket.

    <prefix>/<session id>/manifest.json                       which archive holds; written last
    <prefix>/<session id>/<generation>-<random>/<number>      the parts of that archive, and of the one before

One after the other the parts are a .tar.gz file. The archive's name is random so that two pods that both believe the
session to be theirs never write the same object. Parts are plain objects: what an upload that broke off has left can be
seen and removed, which not every key may do with the parts of S3's own multipart uploads.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from secrets import token_hex
from typing import Literal
from uuid import UUID

from pydantic import Field, ValidationError

from agentrunner.archive.errors import ArchiveCorrupt
from agentsessions.api.base import ApiModel

_NAME = r"[0-9]{8}-[0-9a-f]{16}"
_PART = re.compile(rf"^({_NAME})/[0-9]{{5}}$")


class Manifest(ApiModel):
    """The archive that holds: its name and parts, what is in it, the place that packed it. `bytes` are compressed."""

    version: Literal[1] = 1
    generation: int = Field(ge=1)
    name: str = Field(pattern=f"^{_NAME}$")
    parts: int = Field(ge=1, le=99_999)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=1)
    uncompressed_bytes: int = Field(ge=1)
    files: int = Field(ge=0)
    writer: str = Field(max_length=64)
    time: datetime


def folder(prefix: str, session_id: str) -> str:
    """Return where a session's objects are; raises ValueError for what is no UUID: it might stand for others."""
    return f"{prefix}/{UUID(session_id)}"


def manifest_key(place: str) -> str:
    """Return the manifest's key."""
    return f"{place}/manifest.json"


def part_key(place: str, name: str, number: int) -> str:
    """Return the key of a part, by its number from 0 on."""
    return f"{place}/{name}/{number:05d}"


def new_name(generation: int) -> str:
    """Return a name for an archive that no other has."""
    return f"{generation:08d}-{token_hex(8)}"


def outdated(keys: Iterable[str], place: str, generation: int) -> list[str]:
    """Return the parts that belong neither to archives of a generation nor to those of the one before it.

    What another pod may be about to write carries the same number or a higher one, and is left alone.
    """
    found = [(key, _PART.match(key.removeprefix(f"{place}/"))) for key in keys]
    return [key for key, part in found if part is not None and int(part[1][:8]) < generation - 1]


def parse(document: bytes) -> Manifest:
    """Return the manifest; raises ArchiveCorrupt."""
    try:
        return Manifest.model_validate_json(document)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "document"
        raise ArchiveCorrupt(f"the archive's manifest is wrong at `{field}`: it was damaged or altered") from None
