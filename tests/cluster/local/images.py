"""The cluster's own images, and importing archives into the nodes. An archive that a node has is not imported again."""

import json
import os
import tempfile
from pathlib import Path

from cluster import paths
from cluster.commands import run
from cluster.errors import ClusterError
from cluster.local import archives
from cluster.local.archives import Archive, Image
from cluster.local.node import PAUSE_IMAGE
from cluster.locks import exclusive
from cluster.packages import which

PREFIX = "agentsessions.dev/cluster"
BUSYBOX_IMAGE = f"{PREFIX}/busybox:dev"
BUSYBOX = Path("/bin/busybox")
APPLETS = (
    "awk", "cat", "chmod", "cp", "date", "dd", "df", "echo", "env", "false", "find", "grep", "head", "hostname", "id",
    "kill", "ls", "mkdir", "mv", "nc", "nslookup", "printf", "ps", "rm", "sed", "sh", "sleep", "stat", "sync", "tail",
    "test", "timeout", "touch", "tr", "true", "wc", "yes",
)  # fmt: skip


def busybox() -> Archive:
    """The archive of a small image with a shell, for tests that need a pod which does as it is told."""
    folder = paths.cache_dir() / "cluster-images"
    folder.mkdir(parents=True, exist_ok=True)
    image = _busybox()
    return archives.inspect(_written(image, folder / f"{_short(image)}.tar"))


def own(programs: dict[str, Path]) -> list[Archive]:
    """The archives of the images that the cluster itself needs; written once per version of the programs."""
    folder = paths.cache_dir() / "cluster-images"
    folder.mkdir(parents=True, exist_ok=True)
    return [archives.inspect(_written(image, folder / f"{_short(image)}.tar")) for image in _images(programs)]


def _images(programs: dict[str, Path]) -> list[Image]:
    provisioner = programs["local-path"] / "local-path-provisioner"
    return [
        Image(PAUSE_IMAGE, {"/pause": programs["pause"] / "pause"}, entrypoint=("/pause",)),
        _busybox(),
        Image(f"{PREFIX}/coredns:dev", {"/coredns": programs["coredns"] / "coredns"}, entrypoint=("/coredns",)),
        Image(
            f"{PREFIX}/local-path-provisioner:dev",
            {"/local-path-provisioner": provisioner},
            entrypoint=("/local-path-provisioner",),
        ),
    ]


def _busybox() -> Image:
    links = {f"/bin/{applet}": "busybox" for applet in APPLETS}
    return Image(BUSYBOX_IMAGE, {"/bin/busybox": static_busybox()}, links)


def _short(image: Image) -> str:
    return image.name.removeprefix(f"{PREFIX}/").removesuffix(":dev")


def _written(image: Image, target: Path) -> Path:
    """Write the archive unless the one that is there is of the same files."""
    stamp = target.with_suffix(".json")
    contents = {path: archives.digest(source) for path, source in image.files.items()}
    made_of = json.dumps([image.name, contents, image.links, image.entrypoint])
    if not (target.exists() and stamp.exists() and stamp.read_text() == made_of):
        archives.write(image, target)
        stamp.write_text(made_of)
    return target


def static_busybox() -> Path:
    """A busybox that needs no libraries: the machine's own, else Debian's, unpacked into the cache."""
    kept = paths.cache_dir() / "busybox"
    for candidate in (BUSYBOX, kept):
        if candidate.exists() and is_static(candidate.read_bytes()[:4096]):
            return candidate
    if which("apt-get") is None or which("dpkg-deb") is None:
        raise ClusterError(f"a static busybox is missing: install one as {BUSYBOX} or {kept}")
    with tempfile.TemporaryDirectory() as folder:
        run(["apt-get", "-qq", "download", "busybox-static"], cwd=Path(folder))
        run(["dpkg-deb", "-x", *Path(folder).glob("*.deb"), folder])
        unpacked = next(path for path in Path(folder).rglob("busybox") if path.is_file() and path.parent.name == "bin")
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(".new")
        partial.write_bytes(unpacked.read_bytes())
        partial.chmod(0o755)
        os.replace(partial, kept)
    return kept


def is_static(beginning: bytes) -> bool:
    """Whether an ELF file, by its first bytes, asks for no dynamic loader."""
    return beginning.startswith(b"\x7fELF") and b"/ld-linux" not in beginning and b"/ld-musl" not in beginning


class Store:
    """The images of one node's containerd, with a note of which archive each name came from."""

    def __init__(self, note: Path, inside: list[str]) -> None:
        """`inside` are the words that make a command run in the node."""
        self._note = note
        self._inside = inside

    def load(self, archive: Archive) -> bool:
        """Import the archive; False when every image in it is already there from the same content."""
        with exclusive(self._note.with_suffix(".lock"), "an image import"):
            known = self._known()
            if archive.names and all(known.get(name) == archive.digest for name in archive.names):
                return False
            words: list[str | Path] = ["ctr", "--namespace", "k8s.io", "images", "import", archive.path.absolute()]
            try:
                run([*self._inside, *words], timeout=600)
            except ClusterError:
                # containerd may just be collecting layers of an image that this one replaces: they come back with it.
                run([*self._inside, *words], timeout=600)
            self._note.write_text(json.dumps({**known, **dict.fromkeys(archive.names, archive.digest)}))
        return True

    def _known(self) -> dict[str, str]:
        known: dict[str, str] = json.loads(self._note.read_text()) if self._note.exists() else {}
        return known
