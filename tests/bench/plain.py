"""The SDK's own resume from a store, outside of Kubernetes: what there is to be compared with."""

import asyncio
import importlib.util
import os
import tempfile
import time
from pathlib import Path
from types import ModuleType
from uuid import uuid4

from claude_agent_sdk import (
    AssistantMessage,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    SessionKey,
    project_key_for_directory,
)

from agent.model import script, serve
from agentrunner.stores.valkey import ValkeyStore
from e2e.api import Json
from stores.servers import redis


def measure(turns: tuple[int, ...], rounds: int) -> list[Json]:
    """Return seconds from `connect` to the first word of the answer, for conversations of so many turns."""
    with tempfile.TemporaryDirectory() as name, redis.serve(Path(name)) as server:
        return asyncio.run(_measure(Path(name), server.url(), turns, rounds))


async def _measure(root: Path, url: str, turns: tuple[int, ...], rounds: int) -> list[Json]:
    lengthen = _inside("lengthen")
    rows = []
    async with serve() as model:
        os.environ |= {"ANTHROPIC_BASE_URL": model.url, "ANTHROPIC_API_KEY": "x", "IS_SANDBOX": "1"}
        os.environ["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"] = "1"
        for count in turns:
            session, cwd = str(uuid4()), root / f"w{count}"
            cwd.mkdir()
            store = ValkeyStore(url, "plain/bench")
            await _turn(root, cwd, store, session_id=session)
            key: SessionKey = {"project_key": project_key_for_directory(str(cwd)), "session_id": session}
            await store.append(key, lengthen.repeated(list(await store.load(key) or []), count))
            seconds = [await _turn(root, cwd, store, resume=session) for _ in range(rounds)]
            rows.append({"turns": count, "seconds": seconds})
            await store.close()
    return rows


async def _turn(root: Path, cwd: Path, store: ValkeyStore, **how: str) -> float:
    """Start a CLI, ask, and return the seconds until the agent speaks."""
    options = ClaudeAgentOptions(
        cwd=cwd,
        env={"CLAUDE_CONFIG_DIR": str(root / "config"), "HOME": str(root)},
        setting_sources=[],
        permission_mode="bypassPermissions",
        session_store=store,
        **how,  # type: ignore[arg-type]
    )
    began, first = time.monotonic(), 0.0
    async with ClaudeSDKClient(options) as client:
        await client.query(script({"text": "ok"}))
        async for message in client.receive_response():
            if isinstance(message, AssistantMessage) and not first:
                first = time.monotonic() - began
    return first


def _inside(name: str) -> ModuleType:
    """Return a program that runs in pods as a module, without running it."""
    path = Path(__file__).parent / "inside" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    source = path.read_text().rpartition("\n\nprint(")[0]
    module = importlib.util.module_from_spec(spec)
    exec(compile(source, str(path), "exec"), module.__dict__)
    return module
