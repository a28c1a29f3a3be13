"""Settings that cannot be used are refused before anything is asked, with the fix; custom stores are made usable."""

from pathlib import Path
from typing import Any

import pytest

from agentrunner.errors import InvalidInput
from agentrunner.stores.base import StoreError, StoreRefused
from agentrunner.stores.opening import credentials, open_store
from agentsessions.api.host import StoreSettings
from stores.backends import Backend, Opener
from stores.transcripts import KEY, SUBKEY, entries


def settings(kind: str, folder: Path, **more: Any) -> StoreSettings:
    return StoreSettings.model_validate({"type": kind, "prefix": "team/ns", "secrets": str(folder), **more})


def custom(factory: str) -> dict[str, Any]:
    return {"custom": {"entryPoint": f"stores.custom:{factory}"}}


@pytest.mark.parametrize("kind", ["Redis", "Postgres", "Embedded"])
@pytest.mark.parametrize("url", [None, "", " \n"])
def test_a_secret_without_a_url_is_named(tmp_path: Path, kind: str, url: str | None) -> None:
    if url is not None:
        (tmp_path / "url").write_text(url)
    with pytest.raises(InvalidInput, match="no key `url`: add it"):
        open_store(settings(kind, tmp_path if url is not None else tmp_path / "none"))


@pytest.mark.parametrize(
    ("kind", "url"),
    [
        ("Redis", "hunter2"),
        ("Redis", "postgresql://user:hunter2@host/db"),
        ("Redis", "redis://:hunter2@"),
        ("Embedded", "redis://:hunter2@host:port/0"),
        ("Redis", "redis://:hunter2@host/0?socket_timeout=hunter2"),
        ("Postgres", "redis://:hunter2@host/0"),
        ("Postgres", "postgresql://user:hunter2@host:99999999/db"),
    ],
)
def test_a_url_that_cannot_be_used_is_told_without_what_is_in_it(tmp_path: Path, kind: str, url: str) -> None:
    (tmp_path / "url").write_text(url)
    with pytest.raises(InvalidInput, match="`url`") as caught:
        open_store(settings(kind, tmp_path))
    assert "hunter2" not in str(caught.value)


def test_a_secret_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "url").write_bytes(b"redis://\xff\xfe")
    with pytest.raises(InvalidInput, match="must be text"):
        open_store(settings("Redis", tmp_path))


@pytest.mark.parametrize("name", ["accessKeyId", "secretAccessKey"])
def test_half_of_the_credentials_of_a_bucket_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(InvalidInput, match=f"`{name}` alone"):
        open_store(settings("S3", tmp_path, s3={"bucket": "sessions"}))


@pytest.mark.parametrize("kind", ["S3", "Custom"])
def test_settings_without_their_part_are_told(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InvalidInput, match="needs"):
        open_store(settings(kind, tmp_path))


async def test_credentials_of_a_bucket_are_read_anew(tmp_path: Path) -> None:
    assert credentials(tmp_path) is None
    (tmp_path / "accessKeyId").write_text("id\n")
    (tmp_path / "secretAccessKey").write_text("first\n")
    read: Any = credentials(tmp_path)
    assert (read()["access_key_id"], read()["secret_access_key"], read()["token"]) == ("id", "first", None)
    (tmp_path / "secretAccessKey").write_text("second\n")
    (tmp_path / "sessionToken").write_text("token\n")
    assert (read()["secret_access_key"], read()["token"]) == ("second", "token")


async def test_the_embedded_store_is_a_redis(redis_backend: Backend, tmp_path: Path, namespace: str) -> None:
    opener = Opener(Backend("Embedded", redis_backend.secret), tmp_path, namespace)
    await opener().append(KEY, entries(2))
    assert await opener().load(KEY) == entries(2)
    await opener.close()


@pytest.mark.parametrize(
    ("entry_point", "says"),
    [
        ("no_such_package.stores:make", "no_such_package cannot be imported: add it to the agent image"),
        ("stores.custom:none", "has no none"),
        ("stores.custom:no_factory", "cannot be called"),
        ("stores.custom:useless", "must return an object with `append` and `load`"),
        ("stores.custom:failing", r"failed \(ValueError\)"),
    ],
)
def test_a_factory_that_does_not_work_is_told_and_tells_no_secret(tmp_path: Path, entry_point: str, says: str) -> None:
    (tmp_path / "password").write_text("hunter2")
    with pytest.raises(InvalidInput, match=says) as caught:
        open_store(settings("Custom", tmp_path, custom={"entryPoint": entry_point}))
    assert "hunter2" not in str(caught.value)


async def test_a_custom_store_with_nothing_optional_does_what_it_can(tmp_path: Path) -> None:
    store = open_store(settings("Custom", tmp_path, **custom("smallest")))
    assert store.lacking == {"list_sessions", "delete", "list_subkeys"}
    await store.append(KEY, entries(3))
    await store.append(SUBKEY, entries(1))
    assert (await store.count(KEY), await store.load(SUBKEY)) == (3, entries(1))
    assert await store.size(KEY) == 3 * len('{"type":"x","uuid":"0"}')
    with pytest.raises(StoreRefused, match="no method `delete`"):
        await store.replace(KEY, entries(1))
    with pytest.raises(StoreRefused, match="no method `list_sessions`"):
        await store.list_sessions("p")
    await store.close()


async def test_what_a_custom_store_says_when_it_fails_stays_hidden(tmp_path: Path) -> None:
    store = open_store(settings("Custom", tmp_path, **custom("talkative")))
    with pytest.raises(StoreError, match=r"failed \(RuntimeError\)") as caught:
        await store.load(KEY)
    assert caught.value.__suppress_context__
