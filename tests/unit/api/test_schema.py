"""The conversion from pydantic's schema to a structural one."""

from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, create_model

from agentsessions.api.base import ApiModel, cel, rule
from agentsessions.api.schema import structural_schema


class Leaf(ApiModel):
    """A leaf."""

    word: str = Field(max_length=3, description="A word.")

    model_config = ConfigDict(json_schema_extra=cel(rule("self.word != 'no'", "must not be 'no'")))


def field_of(annotation: object, default: object = ...) -> object:
    """Return the converted schema of a model's only field."""
    model = create_model("Model", **{"it": (annotation, default)})  # type: ignore[call-overload]
    return structural_schema(model)["properties"]["it"]


@pytest.mark.parametrize(
    ("annotation", "default", "expected"),
    [
        pytest.param(str, ..., {"type": "string"}, id="plain"),
        pytest.param(str | None, None, {"type": "string"}, id="optional-is-absent-not-null"),
        pytest.param(Literal["A"], ..., {"type": "string", "enum": ["A"]}, id="const-is-an-enum-of-one"),
        pytest.param(
            Annotated[int, Field(ge=0, le=9)],
            ...,
            {"type": "integer", "minimum": 0, "maximum": 9, "format": "int32"},
            id="small-integer",
        ),
        pytest.param(int, 3, {"type": "integer", "default": 3, "format": "int64"}, id="integer-without-bound-is-wide"),
        pytest.param(
            Annotated[int, Field(le=2**31)],
            ...,
            {"type": "integer", "maximum": 2**31, "format": "int64"},
            id="one-more-than-32-bits",
        ),
        pytest.param(
            Annotated[float, Field(gt=0, lt=2)],
            ...,
            {"type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": 2, "exclusiveMaximum": True},
            id="exclusive-bounds",
        ),
        pytest.param(
            dict[str, str] | None,
            None,
            {"type": "object", "additionalProperties": {"type": "string"}},
            id="optional-map",
        ),
        pytest.param(
            list[str | None],
            ...,
            {"type": "array", "items": {"type": "string"}},
            id="items-are-converted-too",
        ),
    ],
)
def test_conversion(annotation: object, default: object, expected: object) -> None:
    assert field_of(annotation, default) == expected


def test_a_reference_is_inlined_and_what_stands_beside_it_wins() -> None:
    class Model(BaseModel):
        leaf: Leaf | None = Field(None, description="The one that counts.", json_schema_extra=cel(rule("b", "must b")))

    leaf = structural_schema(Model)["properties"]["leaf"]
    assert leaf == {
        "type": "object",
        "description": "The one that counts.",
        "properties": {"word": {"type": "string", "maxLength": 3, "description": "A word."}},
        "required": ["word"],
        "x-kubernetes-validations": [
            {"rule": "self.word != 'no'", "message": "must not be 'no'"},
            {"rule": "b", "message": "must b"},
        ],
    }


def test_a_real_union_is_refused_since_no_structural_schema_says_it() -> None:
    with pytest.raises(ValueError, match="union"):
        field_of(int | str)


WORDS = st.text("abc", max_size=3)
LEAVES = st.sampled_from([str, int, bool, Literal["A", "B"], Leaf, Annotated[int, Field(gt=1)], dict[str, str]])
TYPES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(inner.map(lambda t: list[t]), inner.map(lambda t: t | None)),  # type: ignore[valid-type]
    max_leaves=4,
)


@given(types=st.lists(TYPES, min_size=1, max_size=4))
def test_whatever_a_model_is_made_of_the_result_is_structural(types: list[object]) -> None:
    inner = create_model("Inner", **{f"f{n}": (t, ...) for n, t in enumerate(types)})  # type: ignore[call-overload]
    outer = create_model("Outer", one=(inner, ...), many=(list[inner] | None, None))  # type: ignore[valid-type]
    text = str(structural_schema(outer))
    for forbidden in ("$ref", "$defs", "anyOf", "'title'", "'const'", "'null'"):
        assert forbidden not in text
