"""How many subagents work at once, by what the CLI asks and says."""

import asyncio
from typing import Any

import pytest
from claude_agent_sdk import ResultMessage, SystemMessage, ToolResultBlock, UserMessage
from hypothesis import given
from hypothesis import strategies as st

from agentrunner.subagents import Subagents
from agentsessions.api.agent import AgentOptions, Subagent

TURN_OVER = ResultMessage(
    subtype="success", duration_ms=1, duration_api_ms=1, is_error=False, num_turns=1, session_id="s"
)


def began(call: str) -> SystemMessage:
    return SystemMessage(subtype="task_started", data={"tool_use_id": call, "task_id": f"t-{call}"})


def ended(call: str, status: str = "completed") -> SystemMessage:
    return SystemMessage(subtype="task_notification", data={"tool_use_id": call, "status": status})


def result(call: str) -> UserMessage:
    return UserMessage(content=[ToolResultBlock(tool_use_id=call, content="x")])


class Stage:
    """Calls that ask, and what they were told."""

    def __init__(self, most: int | None) -> None:
        self.gate = Subagents(AgentOptions(max_parallel_subagents=most))
        self.asked: dict[str, asyncio.Task[Any]] = {}

    async def ask(self, call: str, **more: Any) -> None:
        """Let the CLI ask for one, and see whether it is answered at once."""
        body: Any = {"tool_name": "Agent", "tool_input": {"subagent_type": "worker"}} | more
        self.asked[call] = asyncio.create_task(self.gate.before(body, call, {"signal": None}))  # type: ignore[arg-type]
        await asyncio.sleep(0)

    async def say(self, *messages: Any) -> None:
        """Let the CLI say something."""
        for message in messages:
            self.gate.note(message)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def through(self) -> list[str]:
        """Return the calls that were let through."""
        return [call for call, task in self.asked.items() if task.done() and task.result() == {}]

    def refused(self) -> dict[str, str]:
        """Return the calls that were refused, and in which words."""
        done = {call: task.result() for call, task in self.asked.items() if task.done() and task.result() != {}}
        return {call: answer["hookSpecificOutput"]["permissionDecisionReason"] for call, answer in done.items()}


@pytest.mark.requirement("H38", "H52")
async def test_calls_beyond_the_bound_wait_and_follow_in_order() -> None:
    on = Stage(2)
    for call in "abcd":
        await on.ask(call)
    assert on.through() == ["a", "b"]
    await on.say(began("a"), began("b"), ended("b"))
    assert on.through() == ["a", "b", "c"]
    await on.say(ended("a"), result("a"))
    assert on.through() == ["a", "b", "c", "d"]
    assert on.refused() == {}


async def test_without_a_bound_nobody_waits() -> None:
    on = Stage(None)
    for call in map(str, range(50)):
        await on.ask(call)
    assert len(on.through()) == 50


async def test_one_in_the_background_keeps_its_slot_beyond_its_turn() -> None:
    on = Stage(1)
    await on.ask("a")
    await on.say(began("a"), result("a"), TURN_OVER)
    await on.ask("b")
    assert on.through() == ["a"]
    await on.say(ended("a", "failed"))  # stalled, for example
    assert on.through() == ["a", "b"]


async def test_a_call_that_never_began_gives_its_slot_back() -> None:
    on = Stage(1)
    await on.ask("a")
    await on.say(result("a"))  # refused by something else
    await on.ask("b")
    assert on.through() == ["a", "b"]


async def test_the_end_of_a_turn_frees_what_was_interrupted_and_turns_away_who_waits() -> None:
    on = Stage(1)
    await on.ask("a")
    await on.ask("b")
    await on.say(began("a"), TURN_OVER)
    assert on.refused() == {"b": "The turn ended before this subagent could begin."}
    await on.ask("c")
    assert on.through() == ["a", "c"]


async def test_one_that_is_given_up_while_it_waits_takes_no_slot() -> None:
    on = Stage(1)
    await on.ask("a")
    await on.ask("b")
    on.asked.pop("b").cancel()
    await on.ask("c")
    await on.say(began("a"), ended("a"))
    assert on.through() == ["a", "c"]


async def test_a_call_of_a_subagent_that_never_began_does_not_outlive_the_turn() -> None:
    on = Stage(1)
    await on.ask("inner", agent_id="a1")
    await on.say(TURN_OVER)  # nobody tells what became of it
    await on.ask("b")
    assert on.through() == ["inner", "b"]


async def test_a_subagent_that_works_for_one_in_the_background_keeps_its_slot() -> None:
    on = Stage(1)
    await on.ask("inner", agent_id="a1")
    await on.say(began("inner"), TURN_OVER)
    await on.ask("b")
    assert on.through() == ["inner"]


async def test_a_subagent_that_wants_another_never_waits() -> None:
    on = Stage(1)
    await on.ask("a")
    await on.ask("inner", agent_id="a1")
    assert "do this part yourself" in on.refused()["inner"]
    await on.say(began("a"), ended("a"))
    await on.ask("inner2", agent_id="a1")
    assert on.through() == ["a", "inner2"]


async def test_a_session_with_subagents_of_its_own_has_no_forks() -> None:
    gate = Subagents(AgentOptions(subagents=[Subagent(name="worker", description="d", prompt="p")]))
    fork: Any = {"tool_name": "Agent", "tool_input": {"subagent_type": "fork"}}
    answer: Any = await gate.before(fork, "a", {"signal": None})
    assert answer["hookSpecificOutput"]["permissionDecision"] == "deny"


@given(st.integers(1, 3), st.lists(st.tuples(st.sampled_from("abegir"), st.integers(0, 7)), max_size=40))
def test_never_more_than_the_bound_and_nobody_waits_for_nothing(most: int, moves: list[tuple[str, int]]) -> None:
    async def play() -> None:
        on, running = Stage(most), set[str]()
        for number, (move, which) in enumerate(moves):
            known = sorted(running)
            one = known[which % len(known)] if known else "none"
            if move in "ab":
                await on.ask(f"c{number}")
            elif move == "r":
                await on.say(TURN_OVER)
                running = {call for call in running if on.gate._slots.get(call)}
            elif move == "g":
                await on.say(began(one))
            elif move == "i":
                await on.say(began(one), result(one))
            else:
                await on.say(ended(one))
            running = {call for call in on.through() if call in on.gate._slots}
            assert len(running) == len(on.gate._slots) <= most
            assert not on.gate._waiting or len(on.gate._slots) == most
        for task in on.asked.values():
            task.cancel()

    asyncio.run(play())
