"""The JSON Schema of environment files: editors check with it while typing, `ssmd env validate` checks with it too."""

import json
from typing import Final

import msgspec

from ssmd.environment.spec import NAME, Environment

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
EXTENDS: Final = "extends"

Schema = dict[str, object]


def whole_schema() -> Schema:
    """Return the schema of an environment in which everything is filled in."""
    return msgspec.json.schema(Environment)


def file_schema() -> Schema:
    """Return the schema of a file, which may take over what it does not say from another one."""
    schema = whole_schema()
    environment = _part(schema, "$defs", "Environment")
    properties = _part(environment, "properties")
    properties[EXTENDS] = {
        "description": "The environment that everything not said here is taken from.",
        "type": "string",
        "pattern": NAME,
    }
    spec = {"$ref": "#/$defs/Spec"}
    environment |= {
        "description": "An ssmd environment: what is captured, how long it is kept, and who may read it.",
        "properties": {**properties, "spec": {}},
        "required": ["apiVersion", "kind", "metadata"],
        "if": {"required": [EXTENDS]},
        "then": {"properties": {"spec": _optional(spec, _part(schema, "$defs"))}},
        "else": {"properties": {"spec": spec}, "required": ["spec"]},
    }
    return {"$schema": DRAFT, **schema}


def _optional(node: object, parts: Schema) -> object:
    """Return a part of the schema with every key optional; the items of lists, which are not merged, stay whole."""
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _optional(parts[str(node["$ref"]).rpartition("/")[2]], parts)
    changed = {key: value for key, value in node.items() if key not in {"required", "title"}}
    if isinstance(properties := node.get("properties"), dict):
        changed["properties"] = {key: _optional(value, parts) for key, value in properties.items()}
    if "additionalProperties" in node:
        changed["additionalProperties"] = _optional(node["additionalProperties"], parts)
    return changed


def _part(schema: Schema, *keys: str) -> Schema:
    part: object = schema
    for key in keys:
        part = part[key] if isinstance(part, dict) else None
    if not isinstance(part, dict):
        raise TypeError(f"the schema has no mapping at {keys}")
    return part


def schema_text() -> str:
    """Return what environments/schema.json holds."""
    return json.dumps(file_schema(), indent=2) + "\n"
