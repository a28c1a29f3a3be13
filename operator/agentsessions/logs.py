"""Structured logs: one JSON object a line. Prompts, answers and keys never get here."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

LOGGER = logging.getLogger("agentsessions")


class JsonFormatter(logging.Formatter):
    """Turns a record into one line of JSON with its fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(level: str) -> None:
    """Send all logs to standard output; kopf's own only from warnings on."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)


def info(message: str, **fields: object) -> None:
    """Log a change of state."""
    LOGGER.info(message, extra={"fields": fields})


def debug(message: str, **fields: object) -> None:
    """Log what is of interest only when something is being looked for."""
    LOGGER.debug(message, extra={"fields": fields})


def warning(message: str, **fields: object) -> None:
    """Log what an administrator may have to see to."""
    LOGGER.warning(message, extra={"fields": fields})
