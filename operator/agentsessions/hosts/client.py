"""Calls to session hosts, each with a token for exactly the pod that is meant."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

import aiohttp
from pydantic import ValidationError

from agentsessions import logs
from agentsessions.api.base import Json
from agentsessions.api.host import PORT, TOKEN_HEADER, Activation, HostSession, HostSnapshot, Scope
from agentsessions.hosts.errors import Unreachable, error_for
from agentsessions.hosts.tokens import Signer

_CALL = aiohttp.ClientTimeout(total=30, sock_connect=3)
_STREAM = aiohttp.ClientTimeout(total=None, sock_connect=3, sock_read=45)
"""Hosts send a heartbeat every 15 seconds: three missed are a dead connection."""


@dataclass(frozen=True, slots=True)
class HostAddress:
    """A host: the pod by name and uid, and where it listens. An address without a uid is nobody's."""

    pod: str
    uid: str
    ip: str
    port: int = PORT

    @property
    def url(self) -> str:
        """Base URL of the host."""
        return f"http://[{self.ip}]:{self.port}" if ":" in self.ip else f"http://{self.ip}:{self.port}"


def connections() -> aiohttp.ClientSession:
    """Return the pool for a HostClient, without a bound: each host that is followed holds a connection for good."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


class HostClient:
    """One connection pool to all hosts. Raises HostError, and nothing else.

    `may_change` is asked before every call that changes something.
    """

    def __init__(self, http: aiohttp.ClientSession, signer: Signer) -> None:
        self._http = http
        self._signer = signer
        self.may_change: Callable[[], bool] = lambda: True

    async def activate(self, host: HostAddress, activation: Activation) -> HostSession:
        """Give a session to the host, or change how it is run."""
        path = f"/sessions/{activation.session_id}"
        return _session(await self._call("PUT", host, path, Scope.HOST, body=activation.to_json()))

    async def get(self, host: HostAddress, session_id: str) -> HostSession:
        """Return a session as the host sees it."""
        return _session(await self._call("GET", host, f"/sessions/{session_id}", Scope.SESSION, session_id))

    async def snapshot(self, host: HostAddress) -> HostSnapshot:
        """Return all that the host knows of itself."""
        try:
            return HostSnapshot.model_validate(await self._call("GET", host, "/sessions", Scope.HOST))
        except ValidationError as error:
            raise Unreachable(200, "unreadable", "the host's answer is no HostSnapshot") from error

    async def delete(
        self, host: HostAddress, session_id: str, files: Literal["keep", "delete"], *, archive: bool = False
    ) -> None:
        """Take a session from the host, with its files or without; one that it does not have is no error.

        `archive` has the workspace archived before its files are deleted; a host that knows no such wish ignores it.
        """
        wish = "&archive=true" if archive else ""
        await self._call("DELETE", host, f"/sessions/{session_id}?files={files}{wish}", Scope.HOST)

    async def suspend(self, host: HostAddress, session_id: str, *, patient: bool) -> HostSession:
        """Have a session put away; its host tells when it is. One that is busy is left alone, unless `patient`."""
        path = f"/sessions/{session_id}/suspend?wait={str(patient).lower()}"
        return _session(await self._call("POST", host, path, Scope.HOST))

    async def interrupt(self, host: HostAddress, session_id: str) -> None:
        """Have the session's turn end; Refused (409) if it has none."""
        await self._call("POST", host, f"/sessions/{session_id}/interrupt", Scope.SESSION, session_id)

    @asynccontextmanager
    async def events(self, host: HostAddress, scope: Scope) -> AsyncIterator[aiohttp.StreamReader]:
        """Follow what the host has to tell, for as long as the block lasts."""
        call = self._signer.clocks.call(host.uid)
        headers = self._headers(host, scope, None) | {"Accept": "text/event-stream"}
        try:
            async with self._http.get(
                f"{host.url}/events", headers=headers, timeout=_STREAM, allow_redirects=False
            ) as answer:
                call.answered(answer.headers.get("Date"))
                if answer.status != 200:
                    raise error_for(answer.status, _decode(await answer.read()))
                yield answer.content
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unreachable(0, "no-answer", type(error).__name__) from error

    async def _call(
        self, verb: str, host: HostAddress, path: str, scope: Scope, session_id: str | None = None, *, body: Any = None
    ) -> Json:
        """Make one call and return its answer, or raise what it says; once more if its token was not on time."""
        for is_last in (False, True):
            call = self._signer.clocks.call(host.uid)
            headers = self._headers(host, scope, session_id)
            status, date, text = await self._exchange(verb, f"{host.url}{path}", headers, body)
            was_off = call.answered(date)
            if is_last or status != HTTPStatus.UNAUTHORIZED or not was_off:
                break
            logs.info("the host's clock is not what it was taken for: the call is made again", host=host.pod)
        if not 200 <= status < 300:
            raise error_for(status, _decode(text))
        return _decode(text)

    async def _exchange(self, verb: str, url: str, headers: dict[str, str], body: Any) -> tuple[int, str | None, bytes]:
        """Return status, `Date` and body of one exchange."""
        if verb != "GET" and not self.may_change():
            raise Unreachable(0, "not-leading", "another replica may lead by now")
        try:
            async with self._http.request(
                verb, url, headers=headers, json=body, timeout=_CALL, allow_redirects=False
            ) as answer:
                return answer.status, answer.headers.get("Date"), await answer.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unreachable(0, "no-answer", type(error).__name__) from error

    def _headers(self, host: HostAddress, scope: Scope, session_id: str | None) -> dict[str, str]:
        """Return the headers that show who calls."""
        return {TOKEN_HEADER: self._signer.token(host.uid, scope, session_id)}


def _session(body: Json) -> HostSession:
    """Return a session from an answer."""
    try:
        return HostSession.model_validate(body)
    except ValidationError as error:
        raise Unreachable(200, "unreadable", "the host's answer is no HostSession") from error


def _decode(text: bytes) -> Json:
    """Return a body as JSON; whoever has the address by now may answer in other ways."""
    try:
        value: Any = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
