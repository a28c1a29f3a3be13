"""Runs in a pod of the agent image: makes a stored conversation as long as wanted, by repeating its last turn.

Standard input: {"settings": StoreSettings, "sessionId", "turns"}. Standard output: {"entries", "bytes"}.
"""

import asyncio
import json
import sys
from typing import Any
from uuid import uuid4

from agentrunner.keeping.compare import messages
from agentrunner.stores.opening import open_store
from agentsessions.api.host import StoreSettings


def repeated(entries: list[Any], turns: int) -> list[Any]:
    """Return what has to be added, each turn with uuids of its own, one after the other."""
    asked = messages(entries)
    start = next(place for place, entry in enumerate(entries) if entry.get("uuid") == asked[-1])
    last, out = [e for e in entries if e.get("uuid")][-1]["uuid"], []
    for _ in range(max(0, turns - len(asked))):
        names = {entry["uuid"]: str(uuid4()) for entry in entries[start:] if entry.get("uuid")}
        for entry in entries[start:]:
            if entry.get("uuid"):
                parent = names.get(entry.get("parentUuid"), last)
                entry = entry | {"uuid": names[entry["uuid"]], "parentUuid": parent}
                last = entry["uuid"]
            out.append(entry)
    return out


async def lengthen(config: dict[str, Any]) -> dict[str, int]:
    """Lengthen it; what is there stays."""
    store = open_store(StoreSettings.model_validate(config["settings"]))
    key: Any = {"project_key": f"-workspace-{config['sessionId']}", "session_id": config["sessionId"]}
    found = list(await store.load(key) or [])
    more = repeated(found, config["turns"])
    for place in range(0, len(more), 500):
        await store.append(key, more[place : place + 500])
    size = await store.size(key)
    await store.close()
    return {"entries": len(found) + len(more), "bytes": size}


print(json.dumps(asyncio.run(lengthen(json.loads(sys.stdin.readline())))), flush=True)
