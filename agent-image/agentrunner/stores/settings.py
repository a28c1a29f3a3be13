"""A store's settings out of the arguments of a command."""

import argparse

from pydantic import ValidationError

from agentrunner.errors import InvalidInput
from agentrunner.stores.base import StoreRefused
from agentrunner.stores.keys import Keys
from agentsessions.api.host import StoreSettings

_S3, _CUSTOM = ("bucket", "endpoint", "region"), ("entry_point",)
_NEEDED = {"S3": "bucket", "Custom": "entry_point"}


def from_arguments(options: argparse.Namespace) -> StoreSettings:
    """Return the settings; raise InvalidInput that names the argument which is missing or wrong."""
    given = {name: value for name in (*_S3, *_CUSTOM) if (value := getattr(options, name)) is not None}
    fitting = {"S3": _S3, "Custom": _CUSTOM}.get(options.type, ())
    if wrong := [name for name in given if name not in fitting]:
        raise InvalidInput(f"{_argument(wrong[0])} has no meaning for the type {options.type}")
    if (needed := _NEEDED.get(options.type)) and needed not in given:
        raise InvalidInput(f"the type {options.type} needs {_argument(needed)}")
    part = {"S3": "s3", "Custom": "custom"}.get(options.type)
    try:
        Keys(options.prefix)
        common = {"type": options.type, "prefix": options.prefix, "secrets": options.secrets}
        return StoreSettings.model_validate(common | ({part: given} if part else {}))
    except StoreRefused as error:
        raise InvalidInput(f"--prefix: {error.reason}") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = {"entryPoint": "entry_point"}.get(str(first["loc"][-1]), str(first["loc"][-1]))
        raise InvalidInput(f"{_argument(name)}: {first['msg']}") from None


def _argument(name: str) -> str:
    return f"--{name.replace('_', '-')}"
