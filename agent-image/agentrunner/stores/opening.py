"""Opens the session store that settings name. Connections are made when they are first needed."""

import importlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agentrunner.errors import InvalidInput
from agentrunner.stores.base import Store, StoreContext, StoreError
from agentsessions.api.host import StoreSettings

if TYPE_CHECKING:
    from obstore.store import S3Credential, S3CredentialProvider

_SCHEMES = {"Redis": ("redis", "rediss"), "Embedded": ("redis", "rediss"), "Postgres": ("postgresql", "postgres")}
_FRESH = timedelta(minutes=5)
"""How long credentials are used before their files are read again: those of some have an end."""


def open_store(settings: StoreSettings) -> Store:
    """Return the store; raises InvalidInput for settings or files that cannot be used, and says what to mend."""
    secrets = Path(settings.secrets)
    if settings.type == "Custom":
        return _custom(settings, StoreContext(settings.prefix, secrets))
    if settings.type == "S3":
        return _s3(settings, secrets)
    return _by_url(settings, secrets)


def _by_url(settings: StoreSettings, secrets: Path) -> Store:
    # Clients are loaded when they are used: most pods need one of them or none.
    url = _url(settings.type, secrets)
    try:
        if settings.type == "Postgres":
            from agentrunner.stores.postgres import PostgresStore

            return PostgresStore(url, settings.prefix)
        from agentrunner.stores.valkey import ValkeyStore

        return ValkeyStore(url, settings.prefix)
    except ValueError:
        raise InvalidInput("the Secret's key `url` has an option that cannot be read: check what follows `?`") from None


def _url(kind: str, secrets: Path) -> str:
    text = _secret(secrets, "url")
    if text is None:
        raise InvalidInput("the session store's Secret has no key `url`: add it, with user and password in it")
    try:
        url = urlsplit(text)
        usable = url.scheme in _SCHEMES[kind] and url.hostname and (url.port or True)
    except ValueError:
        usable = False
    if not usable:
        raise InvalidInput(
            f"the Secret's key `url` is no URL for {kind}: write {_SCHEMES[kind][0]}://user:password@host/name, with "
            "`%40` for an `@` in the password"
        )
    return text


def _s3(settings: StoreSettings, secrets: Path) -> Store:
    from agentrunner.stores.bucket import Bucket
    from agentrunner.stores.s3 import S3Store

    if settings.s3 is None:
        raise InvalidInput("the session store of type S3 needs `s3.bucket`")
    return S3Store(Bucket(settings.s3, credentials(secrets)), settings.prefix)


def credentials(secrets: Path) -> "S3CredentialProvider | None":
    """Return what reads the Secret's credentials; None if it has none, InvalidInput if it has one of two."""
    found = [name for name in ("accessKeyId", "secretAccessKey") if _secret(secrets, name) is not None]
    if not found:
        return None
    if len(found) == 1:
        raise InvalidInput(
            f"the Secret has the key `{found[0]}` alone: `accessKeyId` and `secretAccessKey` go together"
        )

    def read() -> "S3Credential":
        return {
            "access_key_id": _secret(secrets, "accessKeyId") or "",
            "secret_access_key": _secret(secrets, "secretAccessKey") or "",
            "token": _secret(secrets, "sessionToken"),
            "expires_at": datetime.now(UTC) + _FRESH,
        }

    return read


def _custom(settings: StoreSettings, context: StoreContext) -> Store:
    if settings.custom is None:
        raise InvalidInput("the session store of type Custom needs `custom.entryPoint`")
    factory = _factory(settings.custom.entry_point)
    try:
        made = factory(context)
    except (InvalidInput, StoreError):
        raise
    except Exception as error:
        # Its text may hold what it read from the Secret.
        raise InvalidInput(f"the factory of `custom.entryPoint` failed ({type(error).__name__})") from None
    if isinstance(made, Store):
        return made
    if not (hasattr(made, "append") and hasattr(made, "load")):
        raise InvalidInput("the factory of `custom.entryPoint` must return an object with `append` and `load`")
    from agentrunner.stores.adapting import AdaptedStore

    return AdaptedStore(made, settings.prefix)


def _factory(entry_point: str) -> Callable[[StoreContext], Any]:
    module, _, name = entry_point.partition(":")
    try:
        factory = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise InvalidInput(
            f"`custom.entryPoint`: {error.name or module} cannot be imported: add it to the agent image"
        ) from None
    except AttributeError:
        raise InvalidInput(f"`custom.entryPoint`: the module {module} has no {name}") from None
    if not callable(factory):
        raise InvalidInput(f"`custom.entryPoint`: {entry_point} cannot be called")
    return factory  # type: ignore[no-any-return]


def _secret(directory: Path, name: str) -> str | None:
    """Return a key of the Secret; None if there is none, or nothing in it."""
    try:
        text = (directory / name).read_text().strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        raise InvalidInput(f"the Secret's key `{name}` cannot be read: it must be text") from None
    return text or None
