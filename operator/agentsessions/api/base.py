"""What all API models share: camelCase on the wire, and tolerance of fields from a newer CRD."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

GROUP = "agentsessions.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

Json = dict[str, Any]
"""A JSON object as the API server speaks it; only builders' output and the I/O rim deal in these."""

_QUANTITY_RULE = 'type(self) == int ? self > 0 : isQuantity(self) && quantity(self).isGreaterThan(quantity("0"))'


class ApiModel(BaseModel):
    """A piece of a resource: immutable, camelCase by alias, unknown fields of a newer CRD are ignored."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        protected_namespaces=(),
        hide_input_in_errors=True,  # errors are logged, and the input may be a prompt
    )

    def to_json(self) -> Json:
        """Return the object for the wire: camelCase, JSON types, unset fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def rule(expression: str, message: str) -> Json:
    """Return one CEL validation rule; `message` is what the user reads when it is broken."""
    return {"rule": expression, "message": message}


def cel(*rules: Json) -> Json:
    """Return the schema extension that carries CEL rules."""
    return {"x-kubernetes-validations": list(rules)}


Quantity = Annotated[
    str,
    BeforeValidator(str),
    Field(
        max_length=32,
        json_schema_extra={
            "x-kubernetes-int-or-string": True,
            **cel(rule(_QUANTITY_RULE, "must be a positive quantity, for example 500m, 1 or 1Gi")),
        },
    ),
]
"""A Kubernetes resource quantity above zero; an integer is accepted as Kubernetes itself does."""

ResourceName = Annotated[
    str,
    Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"),
]
"""The name of an object in the same namespace."""

NamespaceName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]

EnvName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]

ATOMIC: Json = {"x-kubernetes-list-type": "atomic"}
SET: Json = {"x-kubernetes-list-type": "set"}


def keyed_by(*keys: str) -> Json:
    """Return the schema extension of a list whose items are told apart by `keys`."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}
