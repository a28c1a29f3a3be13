"""What a session runs with: session over template over the operator's defaults over what is built in."""

from dataclasses import dataclass

from agentsessions.api.agent import AgentOptions
from agentsessions.api.base import Json
from agentsessions.api.config import BUILT_IN
from agentsessions.api.names import digest
from agentsessions.api.status import Resolved
from agentsessions.api.template import DEFAULT_DISRUPTION, Disruption, TemplateFields


@dataclass(frozen=True, slots=True)
class Settings:
    """The merged block, where it came from, and the hash of what pods and agents are made from."""

    fields: TemplateFields
    template: str | None
    hash: str

    @property
    def storage(self) -> str | None:
        """Size of the workspace's claim, or None for a local directory."""
        return self.fields.workspace.storage if self.fields.workspace else None

    @property
    def start_deadline(self) -> int | None:
        """Seconds that a pod may take to start, or None if it may take as long as it takes."""
        return self.fields.limits.start_deadline_seconds if self.fields.limits else None

    @property
    def agent(self) -> AgentOptions:
        """The agent block, empty if nobody set it."""
        return self.fields.agent or AgentOptions()

    @property
    def disruption(self) -> Disruption:
        """What drains and the like may do to pods with these settings."""
        return self.fields.disruption or DEFAULT_DISRUPTION


_WHOLE = frozenset({"outputSchema", "sessionStore", "archive"})
"""Objects that are one value: half of one JSON Schema and half of another are no schema, nor are two stores one."""

_OPERATORS_OWN = frozenset({"priority", "idleTimeoutSeconds", "ttlSecondsAfterIdle"})
_LIMITS_OF_ITS_OWN = frozenset({"startDeadlineSeconds"})
"""Fields that only the operator goes by: a change of them hands nothing over anew, and makes no pod anew."""

_AS_EARLIER: Json = {"idleTimeoutSeconds": 900}
"""What earlier versions had in the hash of whoever set none of these fields: to them an upgrade changes nothing."""


def merge(base: Json, over: Json) -> Json:
    """Merge two objects: objects by key, everything else (lists, scalars, a JSON Schema) is replaced."""
    out = dict(base)
    for key, value in over.items():
        below = out.get(key)
        if isinstance(below, dict) and isinstance(value, dict) and key not in _WHOLE:
            out[key] = merge(below, value)
        else:
            out[key] = value
    return out


def resolve(
    session: TemplateFields,
    template: TemplateFields | None,
    defaults: TemplateFields,
    *,
    template_name: str | None,
) -> Settings:
    """Return the settings of a session, merged field by field."""
    merged: Json = {}
    for level in (BUILT_IN, defaults, template, session):
        if level is not None:
            merged = merge(merged, _shared(level))
    name = template_name if template is not None else None
    return Settings(TemplateFields.model_validate(merged), name, digest(_made_from(merged)))


def _made_from(merged: Json) -> Json:
    """Return the fields that something of a pod or of an agent follows from."""
    kept = {name: value for name, value in merged.items() if name not in _OPERATORS_OWN | {"limits"}}
    limits = {name: value for name, value in merged.get("limits", {}).items() if name not in _LIMITS_OF_ITS_OWN}
    return kept | _AS_EARLIER | ({"limits": limits} if limits else {})


def with_image(settings: Settings, image: str) -> Settings:
    """Return the settings with another image, and a hash of their own."""
    fields = settings.fields.model_copy(update={"image": image})
    return Settings(fields, settings.template, digest([settings.hash, image]))


def _shared(level: TemplateFields) -> Json:
    """Return the fields that the levels have in common; a session has more."""
    names = set(TemplateFields.model_fields)
    return level.model_dump(mode="json", by_alias=True, exclude_none=True, include=names)


def describe(settings: Settings) -> Resolved:
    """Return what `status.resolved` says of the settings."""
    fields = settings.fields
    resources, security, limits = fields.resources, fields.security, fields.limits
    return Resolved(
        template=settings.template,
        template_hash=settings.hash,
        image=fields.image,
        model=settings.agent.model,
        model_base_url=fields.model_endpoint.base_url if fields.model_endpoint else None,
        max_turns=settings.agent.max_turns,
        cpu=resources.cpu if resources else None,
        memory=resources.memory if resources else None,
        ephemeral_storage=resources.ephemeral_storage if resources else None,
        storage=settings.storage,
        runtime_class_name=security.runtime_class_name if security else None,
        active_deadline_seconds=limits.active_deadline_seconds if limits else None,
        turn_deadline_seconds=limits.turn_deadline_seconds if limits else None,
        max_session_turns=limits.max_session_turns if limits else None,
        max_age_seconds=limits.max_age_seconds if limits else None,
        start_deadline_seconds=settings.start_deadline,
        disruption=settings.disruption,
    )
