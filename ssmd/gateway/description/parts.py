"""What an OpenAPI document is made of, as values: operations with their parameters and answers."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from msgspec import Struct, field

Json = Mapping[str, "Json"] | Sequence["Json"] | str | int | float | bool | None
Schema = Mapping[str, Json]

JSON: Final = "application/json"
CSV: Final = "text/csv"


def text(**more: Json) -> Schema:
    return {"type": "string", **more}


def whole(**more: Json) -> Schema:
    return {"type": "integer", **more}


def listed(items: Schema, **more: Json) -> Schema:
    return {"type": "array", "items": items, **more}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def record(fields: Mapping[str, Schema], *, optional: tuple[str, ...] = (), about: str = "") -> Schema:
    """Return the schema of an object that has all of these fields but the optional ones, and maybe others."""
    required = [name for name in fields if name not in optional]
    found: dict[str, Json] = {"type": "object", "properties": fields, "required": required}
    return {"description": about, **found} if about else found


class Parameter(Struct, frozen=True):
    name: str
    about: str
    schema: Schema = field(default_factory=text)
    is_required: bool = False
    place: Literal["query", "path", "header"] = "query"
    example: Json = None


class Answer(Struct, frozen=True):
    """One success. content: media type -> schema; headers: name -> what it says."""

    about: str
    content: Mapping[str, Schema]
    headers: Mapping[str, str] = {}
    status: int = 200


class Operation(Struct, frozen=True):
    """One method of one path. errors: the problem codes that it may answer with, beside those of every operation."""

    method: Literal["get", "post", "put", "patch", "delete"]
    path: str
    name: str
    tag: str
    summary: str
    answers: tuple[Answer, ...]
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[str, ...] = ()
    body: Schema | None = None
    is_open: bool = False
    """Needs no key."""
    about: str = ""
