"""Logs: one JSON object a line, with fields, and kopf only when it matters."""

import json
import logging
from collections.abc import Iterator

import pytest

from agentsessions import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave the logging of other tests alone."""
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    yield
    root.handlers[:] = before[1]
    root.setLevel(before[0])
    for name in ("kopf", "aiohttp.access"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    """Return what was logged."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_line_is_an_object_with_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    logs.info("session changed", name="hello", generation=2)
    (line,) = lines(capsys)
    assert str(line.pop("time")).endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": "agentsessions",
        "message": "session changed",
        "name": "hello",
        "generation": 2,
    }


def test_an_exception_stays_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    try:
        raise ZeroDivisionError("bug")
    except ZeroDivisionError:
        logs.LOGGER.exception("failed")
    (line,) = lines(capsys)
    assert "ZeroDivisionError: bug" in str(line["exception"])


@pytest.mark.parametrize(
    ("level", "heard"),
    [("debug", ["debug", "info", "warning"]), ("info", ["info", "warning"]), ("error", [])],
)
def test_levels(level: str, heard: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(level)
    logs.debug("d")
    logs.info("i")
    logs.warning("w")
    assert [line["level"] for line in lines(capsys)] == heard


def test_kopf_speaks_only_of_trouble(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("debug")
    logging.getLogger("kopf.reactor").info("chatter")
    logging.getLogger("kopf.reactor").warning("trouble")
    assert [line["message"] for line in lines(capsys)] == ["trouble"]


def test_what_json_does_not_know_is_written_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    logs.info("odd", what={1})
    assert lines(capsys)[0]["what"] == "{1}"
