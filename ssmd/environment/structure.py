"""Does a tree have the structure of an environment? Every deviation is found, each with its place and a way out."""

import re
from collections.abc import Iterator
from typing import Final

import msgspec
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from msgspec import Struct, field

from ssmd.environment.problem import Problem, did_you_mean, dotted
from ssmd.environment.scalars import typed
from ssmd.environment.schema import whole_schema
from ssmd.environment.source import Mapping, Node, Path, Scalar, Sequence, lookup, plain
from ssmd.environment.spec import PATTERNS

_TYPES: Final = {
    "string": "text",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping of keys to values",
    "null": "nothing",
}
_LONGEST_SEEN: Final = 60
_INTEGERS: Final = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
"""For JSON Schema 10.0 is an integer too; a file that says so was not written with care."""

_VALIDATOR: Final = extend(Draft202012Validator, type_checker=_INTEGERS)(whole_schema())  # type: ignore[no-untyped-call]


class _Wanted(Struct, frozen=True, rename="camel"):
    """The part of a JSON Schema that says what one value must be."""

    type: str = ""
    enum: tuple[str, ...] = ()
    pattern: str = ""
    minimum: int | None = None
    maximum: int | None = None
    min_length: int = 0
    max_length: int | None = None
    description: str = ""
    properties: "dict[str, _Wanted]" = field(default_factory=dict)
    required: tuple[str, ...] = ()


def check_structure(root: Mapping) -> Iterator[Problem]:
    """Give every place where the tree does not fit the specification."""
    errors = _VALIDATOR.iter_errors(plain(root))
    found = (problem for error in errors for problem in _problems(root, _most_telling(error)))
    yield from dict.fromkeys(found)  # jsonschema has an error for each missing key, and so do we


def _most_telling(error: ValidationError) -> ValidationError:
    """Of an optional value, the error of the value rather than `not null`."""
    if error.validator != "anyOf" or not error.context:
        return error
    return min(error.context, key=lambda branch: branch.validator == "type" and branch.validator_value == "null")


def _problems(root: Mapping, error: ValidationError) -> Iterator[Problem]:
    path: Path = tuple(error.absolute_path)
    node = lookup(root, path) or root
    wanted = msgspec.convert(error.schema, _Wanted)
    if error.validator == "additionalProperties":
        yield from _unknown_keys(node, path, wanted)
    elif error.validator == "required":
        yield from _missing_keys(root, path, wanted)
    elif "propertyNames" in error.schema_path:
        key = (node.key(str(error.instance)) if isinstance(node, Mapping) else None) or node
        message = f"the name {seen(key)} in {_name(path)} is not legal"
        yield Problem("name", message, key.mark, _allowed(wanted), path=dotted((*path, str(error.instance))))
    else:
        message = f"{_name(path)} is {seen(node)}"
        yield Problem("value", message, node.mark, _allowed(wanted), _hint(node, wanted), dotted(path))


def _unknown_keys(node: Node, path: Path, wanted: _Wanted) -> Iterator[Problem]:
    for key, _ in node.items if isinstance(node, Mapping) else ():
        if key.value not in wanted.properties:
            known = f"known are {', '.join(wanted.properties)}"
            hint = did_you_mean(str(key.value), wanted.properties, otherwise=known)
            where = dotted((*path, str(key.value)))
            yield Problem("unknown_key", f"unknown field {seen(key)}", key.mark, hint=hint, path=where)


def _missing_keys(root: Mapping, path: Path, wanted: _Wanted) -> Iterator[Problem]:
    """Give one problem for each missing key, at the key (or list item) that lacks it."""
    node = lookup(root, path) or root
    parent = lookup(root, path[:-1]) if path else None
    key = parent.key(str(path[-1])) if isinstance(parent, Mapping) else None
    for name in wanted.required:
        if isinstance(node, Mapping) and node.get(name) is None:
            about = wanted.properties[name]
            example = "".join(about.enum[:1]) or about.description.rstrip(".")
            hint = f"add {name}: {example}".removesuffix(": ")
            where = dotted((*path, name))
            yield Problem("missing", f"{_name(path)} has no {name}", (key or node).mark, hint=hint, path=where)


def _name(path: Path) -> str:
    """Return the last key of a path, with the index behind it: `symbols[2]`."""
    if not path:
        return "the environment"
    at = max((at for at, step in enumerate(path) if isinstance(step, str)), default=0)
    return dotted(path[at:])


def seen(node: Node) -> str:
    """Return a value as an error message shows it."""
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node.value, str):
        return f"'{node.value[:_LONGEST_SEEN]}'"
    if isinstance(node.value, bool):
        return str(node.value).lower()
    return "empty" if node.value is None else str(node.value)[:_LONGEST_SEEN]


def _allowed(wanted: _Wanted) -> str:
    """Say in words what is let in."""
    if wanted.enum:
        return " or ".join(wanted.enum)
    parts = [_TYPES.get(wanted.type, "")]
    if wanted.minimum is not None and wanted.maximum is not None:
        parts.append(f"{wanted.minimum} to {wanted.maximum}")
    if wanted.max_length is not None:
        parts.append(f"{wanted.min_length} to {wanted.max_length} characters")
    elif wanted.min_length:
        parts.append("not empty")
    if wanted.pattern:
        parts.append(PATTERNS[wanted.pattern])
    return ", ".join(filter(None, parts))


def _hint(node: Node, wanted: _Wanted) -> str:
    value = node.value if isinstance(node, Scalar) else None
    if wanted.enum:
        return did_you_mean(str(value), wanted.enum)
    if wanted.type == "string" and isinstance(value, (int, float)) and re.search(wanted.pattern, seen(node)):
        return f'put it in quotes for text: "{seen(node)}"'
    if isinstance(value, str):
        if wanted.type in {"integer", "boolean"} and typed(value) != value:
            return "write it without quotes"
        if wanted.pattern and re.search(wanted.pattern, value.upper()):
            return f"write {value.upper()}"
    return wanted.description
