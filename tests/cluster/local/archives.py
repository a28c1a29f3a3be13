"""Container images of one or two static programs, written as docker archives without any image builder.

The same input gives the same bytes, so that a content hash says whether an image changed.
"""

import hashlib
import io
import json
import os
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.errors import ClusterError

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Image:
    """An image to write: its name, its files by path, its symbolic links by path, its entry point."""

    name: str
    files: dict[str, Path]
    links: dict[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()


def write(image: Image, target: Path) -> Path:
    """Write the archive in one go (a reader never sees half of it)."""
    layer = _layer(image)
    config = _config(image, hashlib.sha256(layer).hexdigest())
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [image.name], "Layers": ["layer.tar"]}]
    partial = target.with_suffix(f".{os.getpid()}.new")
    with tarfile.open(partial, "w") as archive:
        _add(archive, "manifest.json", json.dumps(manifest).encode())
        _add(archive, name, config)
        _add(archive, "layer.tar", layer)
    os.replace(partial, target)
    return target


@dataclass(frozen=True)
class Archive:
    """An archive on disk: the SHA-256 of the file and the names of the images in it."""

    path: Path
    digest: str
    names: tuple[str, ...]


def inspect(path: Path) -> Archive:
    """Read what an archive holds. Raises ClusterError for a file that is none."""
    try:
        return Archive(path, digest(path), tuple(names(path)))
    except FileNotFoundError:
        raise ClusterError(f"{path}: no such image archive; build the images first") from None
    except (tarfile.TarError, KeyError, ValueError) as error:
        raise ClusterError(f"{path}: not a docker or OCI image archive ({error})") from None


def names(archive: Path) -> list[str]:
    """The image names in a docker or OCI archive (gzipped or not)."""
    with tarfile.open(archive) as tar:
        members = set(tar.getnames())
        if "manifest.json" in members:
            return [tag for item in _read(tar, "manifest.json") for tag in item.get("RepoTags") or []]
        annotations = [item.get("annotations", {}) for item in _read(tar, "index.json")["manifests"]]
    keys = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
    return [next(found[key] for key in keys if key in found) for found in annotations if set(keys) & set(found)]


def digest(archive: Path) -> str:
    """The SHA-256 of the file."""
    with archive.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _layer(image: Image) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in sorted({parent for path in (*image.files, *image.links) for parent in _parents(path)} | {"tmp"}):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
        for path, source in sorted(image.files.items()):
            _add(tar, path.lstrip("/"), source.read_bytes(), 0o755)
        for path, destination in sorted(image.links.items()):
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.type, entry.linkname = tarfile.SYMTYPE, destination
            tar.addfile(entry)
    return buffer.getvalue()


def _parents(path: str) -> list[str]:
    return [str(parent).lstrip("/") for parent in Path("/", path).parents if str(parent) != "/"]


def _config(image: Image, layer_digest: str) -> bytes:
    settings: dict[str, object] = {"Env": ["PATH=/bin"]}
    if image.entrypoint:
        settings["Entrypoint"] = list(image.entrypoint)
    document = {
        "architecture": ARCHITECTURES.get(os.uname().machine, os.uname().machine),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "agentsessions cluster"}],
    }
    return json.dumps(document, sort_keys=True).encode()


def _add(tar: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    tar.addfile(entry, io.BytesIO(data))


def _read(tar: tarfile.TarFile, name: str) -> Any:
    member = tar.extractfile(name)
    if member is None:
        raise ClusterError(f"{name} in the archive is not a file: not an image archive")
    return json.load(member)
