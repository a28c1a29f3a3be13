"""The directory's configuration file, which the Helm chart renders from `gateway.*`."""

from pathlib import Path
from typing import Literal

import yaml
from pydantic import ConfigDict, Field, ValidationError

from agentsessions.api.base import ApiModel, NamespaceName, ResourceName


class BadConfiguration(Exception):
    """The configuration cannot be used; the text names the field and what is wrong with it."""


class Strict(ApiModel):
    """A part of the configuration: a mistyped key is an error, not a default."""

    model_config = ConfigDict(extra="forbid")


class Oidc(Strict):
    """How a token that Envoy has checked (jwt_authn) becomes a user of Kubernetes."""

    enabled: bool = False
    username_claim: str = "sub"
    username_prefix: str = "oidc:"
    groups_claim: str = "groups"
    groups_prefix: str = "oidc:"


class CookbookHost(Strict):
    """Which pool serves clients of the hosting cookbook that call the gateway by this name."""

    host: str
    namespace: NamespaceName
    pool: ResourceName


class Cookbook(Strict):
    """Where `/sessions/{id}/messages`, without a namespace, leads."""

    namespace: str = ""
    pool: str = ""
    hosts: list[CookbookHost] = Field(default_factory=list)


class DirectoryConfig(Strict):
    """Everything that the directory is told at start. Times in seconds."""

    watch_namespaces: list[NamespaceName] = Field(default_factory=list)
    audiences: list[str] = Field(default_factory=list, description="Empty: the API server's own.")
    oidc: Oidc = Oidc()
    cookbook: Cookbook = Cookbook()
    hold_seconds: float = Field(60.0, ge=0, le=300)
    max_held: int = Field(1000, ge=0)
    max_held_per_session: int = Field(32, ge=0)
    review_cache_seconds: float = Field(30.0, ge=0, le=30)
    key_directory: str = "/var/run/agentsessions/signing-key"
    log_level: Literal["debug", "info", "warning", "error"] = "info"


def load(path: Path) -> DirectoryConfig:
    """Return the configuration in a YAML file; raises BadConfiguration."""
    try:
        document = yaml.safe_load(path.read_text()) or {}
        return DirectoryConfig.model_validate(document)
    except OSError as error:
        raise BadConfiguration(f"{path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise BadConfiguration(f"{path} is not YAML: {error}") from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise BadConfiguration(f"{path}: `{'.'.join(map(str, first['loc']))}`: {first['msg']}") from error
