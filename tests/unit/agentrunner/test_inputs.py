"""Reading what the pod was given."""

import json
import re
from typing import Any

import pytest

from agentrunner.errors import InvalidInput
from agentrunner.inputs import SessionDocument, parse_prompt, parse_session
from agentsessions.api.agent import AgentOptions

ID = "0b6b3a52-6d0f-4a3e-8f6c-2f8f2a3c1d10"


def _document(**changes: Any) -> bytes:
    return json.dumps({"version": 1, "sessionId": ID, "agent": {}, **changes}).encode()


def test_a_whole_document_is_read() -> None:
    data = _document(namespace="team", name="task", attempt=2, agent={"maxTurns": 5}, contentLogging="Include")
    assert parse_session(data) == SessionDocument(
        version=1,
        session_id=ID,
        namespace="team",
        name="task",
        attempt=2,
        agent=AgentOptions(max_turns=5),
        content_logging="Include",
    )


def test_fields_of_a_newer_operator_are_passed_over() -> None:
    assert parse_session(_document(invented="later")) == parse_session(_document())


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(b"{", "must be JSON", id="not-json"),
        pytest.param(b"\xff\xfe", "must be JSON", id="not-text"),
        pytest.param(b"[]", "`document`", id="not-an-object"),
        pytest.param(_document(version=2), "`version`", id="other-version"),
        pytest.param(_document(sessionId="../../etc"), "`sessionId`", id="id-is-no-uuid"),
        pytest.param(_document(attempt=-1), "`attempt`", id="negative-attempt"),
        pytest.param(_document(agent={"permissionMode": "auto"}), "`agent.permissionMode`", id="unknown-mode"),
        pytest.param(
            _document(agent={"model": "opus", "fallbackModel": "opus"}), "`agent.fallbackModel`", id="same-fallback"
        ),
        pytest.param(_document(agent={"outputSchema": {"x": "y" * 100_000}}), "`agent.outputSchema`", id="huge-schema"),
    ],
)
def test_a_wrong_document_is_refused_by_field(data: bytes, says: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(says)):
        parse_session(data)


def test_a_refusal_never_repeats_the_value() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_session(_document(agent={"systemPrompt": ["confidential"]}))
    assert "confidential" not in str(caught.value)


def test_a_prompt_keeps_every_character() -> None:
    assert parse_prompt(" /help @file ✓\r\n".encode()) == " /help @file ✓\r\n"


@pytest.mark.parametrize("data", [b"", b"\n\t ", b"\xc3"])
def test_an_unusable_prompt_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="the prompt must"):
        parse_prompt(data)
