"""Transcripts in a bucket hold through crashes, clocks that differ, and being made into one object."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agentrunner.stores import s3
from agentrunner.stores.base import StoreError, StoreUnreachable
from agentrunner.stores.bucket import Bucket
from agentrunner.stores.s3 import S3Store
from agentrunner.stores.stamps import Stamps
from stores.backends import Backend, Opener
from stores.servers.s3 import S3Server
from stores.transcripts import KEY, SUBKEY, entries

HOUR = 3600 * 10**9


@pytest.fixture
def opener(s3_backend: Backend, tmp_path: Path, namespace: str) -> Opener:
    """Opens stores in the bucket."""
    return Opener(s3_backend, tmp_path, namespace)


@pytest.fixture
def objects(s3_server: S3Server, opener: Opener) -> Callable[[], list[Path]]:
    """Lists the objects of this test."""
    return lambda: sorted(path for path in (s3_server.objects / "team" / opener.namespace).rglob("*.jsonl"))


def cut(monkeypatch: pytest.MonkeyPatch, method: str, after: int = 0) -> None:
    """Let the bucket's method fail after some calls, as if the pod had been killed there."""
    true, left = getattr(Bucket, method), iter(range(after))

    async def call(self: Bucket, *arguments: object) -> object:
        if next(left, None) is None:
            raise StoreUnreachable("cut")
        return await true(self, *arguments)

    monkeypatch.setattr(Bucket, method, call)


def with_clock(store: object, ahead: int) -> S3Store:
    """Return the store with a clock that is `ahead` nanoseconds off."""
    assert isinstance(store, S3Store)
    true = Stamps(1_000)
    store._stamps = Stamps(1_000, lambda: true._clock() + ahead)
    return store


async def test_many_parts_become_one(
    opener: Opener, objects: Callable[[], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "MAX_PARTS", 5)
    store = opener()
    for position in range(23):
        await store.append(KEY, entries(1, position))
        assert len(objects()) <= 6
        assert await opener().count(KEY) == position + 1
    assert await opener().load(KEY) == entries(23)


async def test_a_store_that_others_wrote_to_is_made_small_too(
    opener: Opener, objects: Callable[[], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for position in range(8):
        await opener().append(KEY, entries(1, position))
    monkeypatch.setattr(s3, "MAX_PARTS", 5)
    await opener().append(KEY, entries(1, 8))
    assert len(objects()) == 1
    assert await opener().load(KEY) == entries(9)


@pytest.mark.parametrize("method", ["put", "delete"])
async def test_a_crash_while_parts_are_made_one_loses_nothing(
    opener: Opener, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    for position in range(8):
        await opener().append(KEY, entries(1, position))
    with monkeypatch.context() as crash:
        crash.setattr(s3, "MAX_PARTS", 5)
        cut(crash, method, after=1 if method == "put" else 0)
        await opener().append(KEY, entries(1, 8))
    assert await opener().load(KEY) == entries(9)
    assert await opener().count(KEY) == 9
    await opener().append(KEY, entries(1, 9))
    assert await opener().load(KEY) == entries(10)


@pytest.mark.parametrize(("method", "found"), [("put", 8), ("delete", 3)])
async def test_a_crash_while_a_transcript_is_replaced_leaves_the_old_or_the_new(
    opener: Opener, objects: Callable[[], list[Path]], monkeypatch: pytest.MonkeyPatch, method: str, found: int
) -> None:
    for position in range(8):
        await opener().append(KEY, entries(1, position))
    with monkeypatch.context() as crash:
        cut(crash, method)
        with pytest.raises(StoreError):
            await opener().replace(KEY, entries(3))
    assert await opener().load(KEY) == entries(found)
    assert (await opener().count(KEY), await opener().size(KEY)) == (found, found * len('{"type":"x","uuid":"0"}'))
    await opener().replace(KEY, entries(4))
    assert await opener().load(KEY) == entries(4)
    assert len(objects()) == 1


async def test_a_crash_while_a_session_is_deleted_leaves_no_half_of_its_transcript(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    for position in range(8):
        await opener().append(KEY, entries(1, position))
    await opener().append(SUBKEY, entries(2))
    with monkeypatch.context() as crash:
        cut(crash, "delete")
        with pytest.raises(StoreError):
            await opener().delete(KEY)
    assert await opener().load(KEY) is None
    assert await opener().list_sessions(KEY["project_key"]) == []
    await opener().delete(KEY)
    assert await opener().load(SUBKEY) is None
    assert await opener().list_projects() == []


async def test_a_put_that_arrives_after_the_transcript_was_replaced_changes_nothing(
    opener: Opener, objects: Callable[[], list[Path]]
) -> None:
    store = opener()
    await store.append(KEY, entries(2))
    (late,) = objects()
    body = late.read_bytes()
    await store.replace(KEY, entries(3))
    late.write_bytes(body)
    assert await opener().load(KEY) == entries(3)


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
async def test_pods_whose_clocks_differ_keep_the_order(opener: Opener, ahead: int) -> None:
    first, second = with_clock(opener(), ahead), with_clock(opener(), -ahead)
    for position in range(0, 12, 2):
        await first.count(KEY)  # as a pod does that takes the session over
        await first.append(KEY, entries(1, position))
        await second.count(KEY)
        await second.append(KEY, entries(1, position + 1))
    assert await opener().load(KEY) == entries(12)
    await second.replace(KEY, entries(5))
    await with_clock(opener(), -10 * HOUR).append(KEY, entries(1, 5))
    assert await opener().load(KEY) == entries(6)


async def test_objects_of_others_in_the_bucket_are_left_alone(opener: Opener, s3_server: S3Server) -> None:
    store = opener()
    await store.append(KEY, entries(2))
    other = (
        s3_server.objects / "team" / opener.namespace / KEY["project_key"] / KEY["session_id"] / "main" / "notes.txt"
    )
    other.write_text("not ours")
    assert await store.load(KEY) == entries(2)
    await store.replace(KEY, entries(1))
    assert other.exists()


async def test_an_object_that_is_shorter_than_its_name_says_is_no_transcript(
    opener: Opener, objects: Callable[[], list[Path]]
) -> None:
    await opener().append(KEY, entries(3))
    (path,) = objects()
    path.write_bytes(path.read_bytes().split(b"\n", 1)[1])
    with pytest.raises(StoreError, match="not what its name says"):
        await opener().load(KEY)
