"""Turns a pydantic model into a structural schema that a CustomResourceDefinition accepts; pure.

pydantic's own output cannot go in as it is: the API server knows no `$defs`/`$ref`, refuses `title`-only
unions and numeric exclusive bounds, and treats `additionalProperties: false` beside properties as an error.
"""

from typing import Any

from pydantic import BaseModel

from agentsessions.api.base import Json

_DROPPED = frozenset({"title", "$defs", "discriminator"})
_INT32_MAX = 2**31 - 1


def structural_schema(model: type[BaseModel]) -> Json:
    """Return the OpenAPI v3 structural schema of `model`, with every reference inlined."""
    raw = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(raw, raw.get("$defs", {}))


def _convert(node: Json, definitions: Json) -> Json:
    """Return one schema node in structural form."""
    node = _without_null(_inlined(node, definitions))
    out = {key: value for key, value in node.items() if key not in _DROPPED}
    if out.get("x-kubernetes-int-or-string"):
        out.pop("type", None)
    if "const" in out:
        out["enum"] = [out.pop("const")]
    _convert_children(out, definitions)
    _convert_numbers(out)
    return out


def _inlined(node: Json, definitions: Json) -> Json:
    """Replace a reference by what it refers to; what stands beside it wins."""
    if "$ref" not in node:
        return node
    target = definitions[node["$ref"].rsplit("/", 1)[-1]]
    beside = {key: value for key, value in node.items() if key != "$ref"}
    return _inlined(_merged(target, beside), definitions)


def _merged(base: Json, over: Json) -> Json:
    """Merge two nodes; CEL rules of both are kept."""
    rules = [*base.get("x-kubernetes-validations", []), *over.get("x-kubernetes-validations", [])]
    merged = base | over
    return merged | {"x-kubernetes-validations": rules} if rules else merged


def _without_null(node: Json) -> Json:
    """Turn pydantic's "X or null" into X; absent is how a resource says null."""
    options = [option for option in node.get("anyOf", []) if option.get("type") != "null"]
    if "anyOf" not in node or len(options) != 1:
        return node
    beside = {key: value for key, value in node.items() if key != "anyOf"}
    if beside.get("default", ...) is None:
        del beside["default"]
    return _merged(options[0], beside)


def _convert_children(out: Json, definitions: Json) -> None:
    """Convert properties, items and map values in place."""
    if "anyOf" in out:
        raise ValueError(f"a union has no structural schema: {out['anyOf']}")
    if "properties" in out:
        out["properties"] = {name: _resolved(child, definitions) for name, child in out["properties"].items()}
        out.pop("additionalProperties", None)
    elif isinstance(out.get("additionalProperties"), dict):
        out["additionalProperties"] = _resolved(out["additionalProperties"], definitions)
    elif out.get("x-kubernetes-preserve-unknown-fields"):
        out.pop("additionalProperties", None)
    if "items" in out:
        out["items"] = _resolved(out["items"], definitions)


def _resolved(node: Json, definitions: Json) -> Json:
    """Convert a child; a reference inside "X or null" needs a second look."""
    once = _without_null(_inlined(node, definitions))
    return _convert(once, definitions)


def _convert_numbers(out: dict[str, Any]) -> None:
    """Give integers a width, and exclusive bounds the form that the API server knows."""
    for bound, name in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if not isinstance(out.get(bound, True), bool):
            out[name], out[bound] = out[bound], True
    if out.get("type") == "integer":
        out["format"] = "int32" if out.get("maximum", _INT32_MAX + 1) <= _INT32_MAX else "int64"
