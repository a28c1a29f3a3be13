"""The JSON schema of the chart's `defaults`, made from the operator's own model of a template.

`python -m chart.template_schema` writes it into the chart's values.schema.json; a test fails when the two differ.
"""

import json
from typing import Any

from agentsessions.api.schema import structural_schema
from agentsessions.api.template import TemplateFields
from chart.helm import CHART

SCHEMA_FILE = CHART / "values.schema.json"
QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"

Json = dict[str, Any]


def template_schema() -> Json:
    """Return the draft-07 schema of a template block; unknown fields are refused at every level."""
    schema = _draft_07(structural_schema(TemplateFields))
    # Empty means the chart's agentImage, which only the chart knows.
    del schema["properties"]["image"]["minLength"]
    return schema


def updated(document: Json) -> Json:
    """Return the chart's schema with its template definition made anew."""
    return document | {"definitions": document["definitions"] | {"template": template_schema()}}


def _draft_07(node: Json) -> Json:
    """Return one node without what only Kubernetes understands, and strict about unknown fields."""
    out = {key: value for key, value in node.items() if not key.startswith("x-kubernetes-") and key != "format"}
    if node.get("x-kubernetes-int-or-string"):
        out |= {"type": ["string", "integer"], "pattern": QUANTITY, "minimum": 1}
    if "properties" in out:
        out["properties"] = {name: _draft_07(child) for name, child in out["properties"].items()}
        out["additionalProperties"] = False
    elif isinstance(out.get("additionalProperties"), dict):
        out["additionalProperties"] = _draft_07(out["additionalProperties"])
    if "items" in out:
        out["items"] = _draft_07(out["items"])
    return out


def main() -> None:
    """Write the definition into the chart's schema."""
    document = updated(json.loads(SCHEMA_FILE.read_text()))
    SCHEMA_FILE.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
