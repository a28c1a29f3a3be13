"""The port to the Kubernetes API: read, create, apply and delete, with a count of every request, and a bound on them.

Authentication and TLS are the official client's (`kubernetes.aio`); its models are not used, since building
them costs more than the request.
"""

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import client, config

from agentsessions import metrics
from agentsessions.api.base import Json
from agentsessions.api.names import FIELD_MANAGER
from agentsessions.kube.clock import LearnedClock
from agentsessions.kube.errors import NotFound, Transient, error_for
from agentsessions.kube.pace import Pace
from agentsessions.kube.paths import LEASES, Kind

_TIMEOUT_SECONDS = 30
_PAGE = 500
_READ_AGAIN = frozenset({429, 500, 502, 503, 504})
"""Answers after which a read is tried once more: a pass makes many, and where one in ten fails few passes would end."""
_PAUSE = 0.1, 0.4
"""Seconds before that, at random; a pause that the API server asks for is waited for in any case."""
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"


class Kube:
    """One connection pool to one API server. `may_write` is asked before every write, and `pace` before every request.

    Neither is asked about Leases: they say who may write, and a renewal that waits for its turn may come too late.
    """

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api
        self.pace = Pace()
        self.clock = LearnedClock()
        self.may_write: Callable[[], bool] = lambda: True

    @classmethod
    async def connect(cls) -> Self:
        """Connect with the pod's service account, else with the kubeconfig."""
        settings = client.Configuration()
        try:
            config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
        except config.ConfigException:
            await config.load_kube_config(client_configuration=settings)  # type: ignore[no-untyped-call]
        settings.retries = None  # the queue tries again; 0 would mean: for ever (ExponentialRetry of aiohttp_retry)
        return cls(client.ApiClient(settings))

    def time(self) -> datetime:
        """Return the time in UTC, by the API server's clock, which stamps what there is."""
        return datetime.fromtimestamp(self.clock.now(), UTC)

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        """Return an object, or None if there is none of that name."""
        try:
            return await self._read(kind, kind.path(namespace, name))
        except NotFound:
            return None

    async def list(
        self, kind: Kind, namespace: str | None = None, *, metadata_only: bool = False, **selectors: str
    ) -> Sequence[Json]:
        """Return all objects; `selectors` are labelSelector and fieldSelector."""
        items: list[Json] = []
        page: Json = {"metadata": {"continue": ""}}
        accept = _METADATA_ONLY if metadata_only else "application/json"
        while True:
            query = {"limit": str(_PAGE), "continue": page["metadata"].get("continue", ""), **selectors}
            page = await self._read(kind, kind.path(namespace), query=query, accept=accept)
            items += page.get("items") or []
            if not page["metadata"].get("continue"):
                return items

    async def create(self, kind: Kind, manifest: Json) -> Json:
        """Create an object; raises AlreadyExists if somebody was first."""
        path = kind.path(manifest["metadata"]["namespace"])
        return await self._request("POST", kind, path, query={"fieldManager": FIELD_MANAGER}, body=manifest)

    async def review(self, kind: Kind, question: Json) -> Json:
        """Ask the API server about somebody; nothing is stored."""
        return await self._request("POST", kind, kind.path(), body=question)

    async def apply(self, kind: Kind, manifest: Json, *, manager: str = FIELD_MANAGER, subresource: str = "") -> Json:
        """Apply an object, or a subresource of one, on the server; what another owns there becomes ours."""
        meta = manifest["metadata"]
        path = kind.path(meta["namespace"], meta["name"], subresource)
        query = {"fieldManager": manager, "force": "true"}
        return await self._request("PATCH", kind, path, query=query, body=manifest, content_type=_APPLY)

    async def merge(
        self, kind: Kind, namespace: str, name: str, patch: Json, *, manager: str, subresource: str = ""
    ) -> Json:
        """Merge a patch into an object or a subresource; with `metadata.uid` in it only into the one that is meant."""
        path = kind.path(namespace, name, subresource)
        return await self._request(
            "PATCH", kind, path, query={"fieldManager": manager}, body=patch, content_type=_MERGE
        )

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, grace: int | None = None, **preconditions: str
    ) -> None:
        """Delete an object if it is still the one that was meant; one that is gone already is no error.

        `grace` is in seconds; with 0 a pod is gone from the API server at once, whatever becomes of its processes.
        """
        body: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        try:
            await self._request("DELETE", kind, kind.path(namespace, name), body=body)
        except NotFound:
            return

    async def _read(
        self, kind: Kind, path: str, *, query: dict[str, str] | None = None, accept: str = "application/json"
    ) -> Json:
        """Return the answer to a GET; one that fails is sent once more, but for Leases: they have no time for it."""
        try:
            return await self._request("GET", kind, path, query=query, accept=accept)
        except Transient as error:
            if kind == LEASES or error.code not in _READ_AGAIN:
                raise
        await asyncio.sleep(random.uniform(*_PAUSE))
        return await self._request("GET", kind, path, query=query, accept=accept)

    async def _request(
        self,
        verb: str,
        kind: Kind,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: Json | None = None,
        accept: str = "application/json",
        content_type: str = "application/json",
    ) -> Json:
        """Send one request in its turn, count it, and return the answer or raise what it says."""
        async with nullcontext() if kind == LEASES else self.pace:
            return await self._send(verb, kind, path, query or {}, body, (accept, content_type))

    async def _send(
        self, verb: str, kind: Kind, path: str, query: dict[str, str], body: Json | None, types: tuple[str, str]
    ) -> Json:
        """Send one request now; `types` are what is accepted and what is sent."""
        code = 0
        if verb != "GET" and kind != LEASES and not self.may_write():
            raise Transient(0, "not written: another replica may lead by now")
        try:
            headers = await self._headers(*types)
            code, answer, retry_after = await self._exchange(verb, path, query, body, headers)
        finally:
            metrics.api_requests.labels(verb, kind.plural, str(code)).inc()
        if code == HTTPStatus.TOO_MANY_REQUESTS and retry_after:
            self.pace.pause(retry_after)
        if code >= 400:
            raise error_for(code, answer, retry_after)
        return answer

    async def _headers(self, accept: str, content_type: str) -> dict[str, str]:
        """Return the headers, with a token that is refreshed when its file is."""
        headers = {"Accept": accept, "Content-Type": content_type, "User-Agent": "agentsessions-operator"}
        await self._api.update_params_for_auth(headers, [], ["BearerToken"], "", "", None)
        return headers

    async def _exchange(
        self, verb: str, path: str, query: dict[str, str], body: Json | None, headers: dict[str, str]
    ) -> tuple[int, Json, float | None]:
        """Return status code, body and Retry-After (seconds) of one exchange."""
        url = f"{self._api.configuration.host}{path}"
        if query := {key: value for key, value in query.items() if value}:
            url = f"{url}?{urlencode(query)}"
        since = self.clock.steady()
        try:
            response = await self._api.rest_client.request(  # type: ignore[no-untyped-call]
                verb, url, headers=headers, body=body, _request_timeout=_TIMEOUT_SECONDS
            )
            text = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Transient(0, f"no answer from the API server ({type(error).__name__})") from error
        answer = _decode(text)
        if "kind" in answer:  # its own word, and not that of a proxy in between
            self.clock.learn(response.headers.get("Date"), since)
            metrics.clock_ahead.set(self.clock.wall() - self.clock.now())
        return response.status, answer, _seconds(response.headers.get("Retry-After"))


def _decode(text: bytes) -> Json:
    """Return a body as JSON; proxies in between may answer in other ways."""
    try:
        value: Any = json.loads(text)
    except ValueError:
        return {"message": text[:200].decode(errors="replace")}
    return value if isinstance(value, dict) else {"message": str(value)[:200]}


def _seconds(header: str | None) -> float | None:
    """Return a Retry-After header in seconds."""
    return float(header) if header and header.isdigit() else None
