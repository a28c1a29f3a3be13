"""A pool's children as the operator would make them, and ways into them."""

import base64
import json
from typing import Any

from agentsessions.api.base import Json
from agentsessions.api.config import Gateway, OperatorConfig
from agentsessions.api.host import HostDocument
from agentsessions.api.names import ANNOTATION_TEMPLATE_HASH
from agentsessions.api.pool import AgentPool
from agentsessions.api.template import TemplateFields
from agentsessions.builders.pool.hosts import hosts
from agentsessions.builders.pool.secret import host_secret
from agentsessions.policies.capacity import host_size
from agentsessions.policies.resolve import Settings, resolve
from unit.lasting import make_pool
from unit.make import CONFIG

KEYS = '{"keys": []}'
WITH_GATEWAY = OperatorConfig(gateway=Gateway(enabled=True, public_keys=KEYS))


def a_pool(name: str = "chat", **spec: Any) -> AgentPool:
    """Return a pool."""
    body = make_pool(**spec)
    return AgentPool.model_validate(body | {"metadata": body["metadata"] | {"name": name}})


def settings_of(template: TemplateFields | None = None) -> Settings:
    """Return what hosts of a template run with."""
    return resolve(TemplateFields(), template, CONFIG.defaults, template_name="default")


def template_of(**fields: Any) -> TemplateFields:
    """Return a template, by the names of its manifest."""
    return TemplateFields.model_validate(fields)


def build(
    pool: AgentPool | None = None,
    template: TemplateFields | None = None,
    *,
    replicas: int = 1,
    policy: str = "policy",
    config: OperatorConfig = WITH_GATEWAY,
) -> Json:
    """Return the StatefulSet of a pool, with the name of the Secret that belongs to it."""
    pool = pool or a_pool()
    settings, size = settings_of(template), host_size(pool.spec)
    secret = host_secret(pool, settings, size, config)["metadata"]["name"]
    return hosts(pool, settings, size, replicas, secret, policy, config)


def pod(made: Json) -> Json:
    """Return the template's pod spec."""
    found: Json = made["spec"]["template"]["spec"]
    return found


def container(made: Json) -> Json:
    """Return the only container."""
    (found,) = pod(made)["containers"]
    return dict(found)


def hash_of(made: Json) -> str:
    """Return the hash by which hosts of older settings are known."""
    return str(made["spec"]["template"]["metadata"]["annotations"][ANNOTATION_TEMPLATE_HASH])


def variables(made: Json) -> dict[str, Json]:
    """Return the host's variables by name; none may be there twice."""
    env = container(made)["env"]
    assert len({var["name"] for var in env}) == len(env)
    return {var["name"]: var for var in env}


def secret_of(pool: AgentPool, template: TemplateFields | None = None) -> Json:
    """Return the pool's Secret."""
    return host_secret(pool, settings_of(template), host_size(pool.spec), WITH_GATEWAY)


def document(secret: Json) -> HostDocument:
    """Return host.json as the host reads it."""
    return HostDocument.model_validate(json.loads(base64.b64decode(secret["data"]["host.json"])))
