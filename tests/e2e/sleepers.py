"""Hybrid sessions as tests speak to them: prompts that are like no other, and what they cost."""

import asyncio
from decimal import Decimal

from e2e import manifests
from e2e.api import Json, condition
from e2e.gateway import Event
from e2e.stage import Stage


def told(number: int) -> str:
    """Return a prompt that is like no other; to answer it costs as much as to answer any other."""
    usage = {"input": 100_000, "output": 1_000}
    return f"message {number}: " + manifests.prompt(manifests.say(f"answer {number}") | {"usage": usage})


def priced(events: list[Event]) -> Decimal:
    """Return what the conversation has cost until the end of a turn, in dollars, as the CLI says."""
    results = [event.data for event in events if event.kind == "message" and event.data["type"] == "result"]
    return Decimal(str(results[-1]["total_cost_usd"]))


async def slept(stage: Stage, name: str, spec: Json) -> Json:
    """Apply a Hybrid session and wait until it sleeps."""
    return await asyncio.to_thread(lambda: stage.hybrid(name, **spec))


def is_ready(session: Json) -> bool:
    """Return whether a session answers when it is asked."""
    return condition(session, "Ready").get("status") == "True"


async def until_durable(stage: Stage, name: str, value: str) -> Json:
    """Wait until TranscriptDurable of a session is "True" or "False"."""

    def holds(session: Json) -> bool:
        return bool(condition(session, "TranscriptDurable").get("status") == value)

    return await asyncio.to_thread(stage.lab.until, name, holds, f"TranscriptDurable={value}")


def pods_of(stage: Stage, session: Json) -> list[str]:
    """Return the names of a session's pods."""
    return [str(pod["metadata"]["name"]) for pod in stage.lab.pods(session)]
