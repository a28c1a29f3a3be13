"""Reads the configuration file; what is wrong in it is said in one line, with field and reason."""

from pathlib import Path

import yaml
from pydantic import ValidationError

from agentsessions.api.config import OperatorConfig


class BadConfiguration(Exception):
    """The configuration file cannot be used."""


def load(path: Path) -> OperatorConfig:
    """Return the configuration; raises BadConfiguration."""
    try:
        raw = yaml.safe_load(path.read_text()) or {}
        return OperatorConfig.model_validate(raw)
    except OSError as error:
        raise BadConfiguration(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadConfiguration(f"{path}: not YAML: {str(error).splitlines()[0]}") from error
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors())
        raise BadConfiguration(f"{path}: {'; '.join(problems)}") from error
