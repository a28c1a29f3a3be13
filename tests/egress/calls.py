"""One HTTP call as an agent makes it, read to its end."""

import json
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: str
    body: str

    def error(self) -> dict[str, str]:
        """Return the error object of the Messages API."""
        error: dict[str, str] = json.loads(self.body)["error"]
        return error


async def call(http: aiohttp.ClientSession, url: str, *, method: str = "POST", **arguments: Any) -> Answer:
    """Send one request; the URL goes out as it is written, however odd."""
    async with http.request(method, URL(url, encoded=True), **arguments) as answer:
        return Answer(answer.status, str(answer.headers), await answer.text())
