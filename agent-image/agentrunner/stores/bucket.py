"""A bucket at AWS or at any other server that speaks S3: put, get, list, delete, and what their errors mean."""

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store as Client

from agentrunner.stores.base import TIMEOUT_SECONDS, StoreError, StoreRefused, StoreUnreachable
from agentrunner.stores.bounded import bounded, patience
from agentsessions.api.storage import S3Bucket

if TYPE_CHECKING:
    from obstore.store import S3Config, S3CredentialProvider

AT_ONCE = 16
"""Requests that run at the same time."""

Answer = TypeVar("Answer")

_CONNECT_SECONDS = 5
_DELETED = 10_000
"""Bytes that an object counts for when it is deleted: a request of its own, at some servers."""

_SINGLE_PUT = 64 * 1024 * 1024
"""Bytes up to which an object is put by one request."""

_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_PASSING = {"408", "425", "429", "500", "502", "503", "504"}


class Missing(StoreError):
    """There is no such object."""


class Bucket:
    """One bucket; None for `credentials` takes those that AWS gives a pod."""

    def __init__(self, settings: S3Bucket, credentials: "S3CredentialProvider | None") -> None:
        # The client's own coroutines come back to Python from threads that nobody waits for; a program that ends just
        # then is aborted.
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="bucket")
        self._client = Client(
            settings.bucket,
            config=_config(settings),
            client_options={
                "allow_http": (settings.endpoint or "").startswith("http:"),
                "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
                "read_timeout": timedelta(seconds=TIMEOUT_SECONDS),
                "timeout": timedelta(seconds=patience(_SINGLE_PUT)),
            },
            retry_config={"max_retries": 0},
            credential_provider=credentials,
        )

    async def put(self, path: str, body: bytes) -> None:
        """Put an object: all of it or nothing."""
        async with bounded(explain, patience(len(body))):
            await self._run(partial(obstore.put, self._client, path, body, use_multipart=len(body) > _SINGLE_PUT))

    async def get(self, path: str, size: int) -> bytes:
        """Return an object of about `size` bytes; raise Missing if there is none."""
        async with bounded(_explain_get, patience(size)):
            return await self._run(lambda: obstore.get(self._client, path).bytes().to_bytes())

    async def objects(self, folder: str) -> list[tuple[str, int]]:
        """Return name and bytes of each object below a folder."""
        async with bounded(explain):
            found = await self._run(lambda: obstore.list(self._client, folder).collect())
        return [(item["path"], item["size"]) for item in found]

    async def folders(self, folder: str) -> list[str]:
        """Return the last part of the name of each folder in a folder."""
        async with bounded(explain):
            found = await self._run(lambda: obstore.list_with_delimiter(self._client, folder))
        return [path.rstrip("/").rpartition("/")[2] for path in found["common_prefixes"]]

    async def delete(self, paths: list[str]) -> None:
        """Delete objects; no harm if there is none."""
        async with bounded(explain, patience(len(paths) * _DELETED)):
            await self._run(partial(obstore.delete, self._client, paths))

    def close(self) -> None:
        """Take no more calls; those that run come to their end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, call: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


def _config(settings: S3Bucket) -> "S3Config":
    if settings.endpoint:
        # Not every server knows buckets as host names, nor the request that deletes many objects.
        return {
            "endpoint": settings.endpoint.rstrip("/"),
            "region": settings.region,
            "virtual_hosted_style_request": False,
            "disable_bulk_delete": True,
        }
    # A dot in a bucket's name is more than the certificate of AWS covers.
    return {"region": settings.region, "virtual_hosted_style_request": "." not in settings.bucket}


def explain(error: Exception) -> StoreError | None:
    """Return what an error of the client means; its own text has the address in it."""
    if not isinstance(error, BaseError | FileNotFoundError):
        return None
    text = str(error)
    status, code = _STATUS.search(text), _CODE.search(text)
    if "169.254." in text or "security-credentials" in text:
        return StoreRefused(
            "there are no credentials for the bucket: add the keys `accessKeyId` and `secretAccessKey` to the Secret, "
            "or give the pod a role"
        )
    if status is None:
        return StoreUnreachable("the bucket's server cannot be reached")
    if status[1] in _PASSING:
        return StoreUnreachable(f"the bucket's server has no time now (HTTP {status[1]})")
    said = code[1] if code else f"HTTP {status[1]}"
    return StoreRefused(f"the bucket's server refused a request ({said}): check bucket, region, credentials and rights")


def _explain_get(error: Exception) -> StoreError | None:
    found = _CODE.search(str(error))
    if isinstance(error, FileNotFoundError) and (found is None or found[1] == "NoSuchKey"):
        return Missing("an object that should be in the bucket is not there")
    return explain(error)
