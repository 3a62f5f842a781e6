"""The OpenAPI document: operations in, OpenAPI 3.1 out."""

from collections.abc import Iterable
from typing import Final

from ssmd import __version__
from ssmd.gateway.description.parts import JSON, Answer, Json, Operation, Parameter, ref, text
from ssmd.gateway.description.schemas import SCHEMAS
from ssmd.gateway.problems import STATUS

PROBLEM: Final = "application/problem+json"
EVERYWHERE: Final = ("bad_request", "invalid_parameter", "method_not_allowed", "damaged", "internal")
WITH_A_KEY: Final = ("missing_key", "invalid_key", "rate_limited", "unavailable")
TAGS: Final = {
    "history": "What was captured, as rows.",
    "live": "What is captured now, as a stream.",
    "about": "What there is, and how good it is.",
    "audit": "What was delivered to whom.",
    "admin": "Clients, keys, entitlements and sessions; needs the administrator's key.",
    "service": "Is it well, and how it is used.",
}


def document(operations: Iterable[Operation]) -> dict[str, Json]:
    paths: dict[str, dict[str, Json]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "ssmd gateway",
            "version": __version__,
            "summary": "Live and historical crypto market data, with every gap told.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": about} for name, about in TAGS.items()],
        "security": [{"bearer": []}, {"header": []}],
        "paths": paths,
        "components": {"schemas": SCHEMAS, "securitySchemes": _SECURITY, "responses": _problems()},
    }


_SECURITY: Final[Json] = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "ssmd_<id>_<secret>"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def _operation(operation: Operation) -> Json:
    found: dict[str, Json] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        **({"description": operation.about} if operation.about else {}),
        "parameters": [_parameter(each) for each in operation.parameters],
        "responses": {**{str(each.status): _answer(each) for each in operation.answers}, **_refusals(operation)},
    }
    if operation.body is not None:
        found["requestBody"] = {"required": True, "content": {JSON: {"schema": operation.body}}}
    if operation.is_open:
        found["security"] = []
    return found


def _parameter(parameter: Parameter) -> Json:
    found: dict[str, Json] = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.about,
        "required": parameter.is_required or parameter.place == "path",
        "schema": parameter.schema,
    }
    return found if parameter.example is None else {**found, "example": parameter.example}


def _answer(answer: Answer) -> Json:
    named = {"X-Request-Id": "Names this request in logs.", **answer.headers}
    found: dict[str, Json] = {
        "description": answer.about,
        "headers": {name: {"description": about, "schema": text()} for name, about in named.items()},
    }
    if answer.content:
        found["content"] = {kind: {"schema": schema} for kind, schema in answer.content.items()}
    return found


def _refusals(operation: Operation) -> dict[str, Json]:
    codes = (*EVERYWHERE, *operation.errors, *(() if operation.is_open else WITH_A_KEY))
    codes += ("body_too_slow", "body_too_large", "unsupported_media_type") if operation.body is not None else ()
    taken = {answer.status for answer in operation.answers}
    statuses = sorted({STATUS[code] for code in codes} - taken)
    return {str(status): {"$ref": f"#/components/responses/{status}"} for status in statuses}


def _problems() -> dict[str, Json]:
    """Return one answer per status of an error, with its codes."""
    codes: dict[int, list[str]] = {}
    for code, status in STATUS.items():
        codes.setdefault(status, []).append(code)
    return {str(status): _problem(status, found) for status, found in sorted(codes.items())}


_HEADERS: Final = {401: "WWW-Authenticate", 405: "Allow", 429: "Retry-After", 503: "Retry-After"}


def _problem(status: int, codes: list[str]) -> Json:
    found: dict[str, Json] = {
        "description": "Problem: " + ", ".join(codes),
        "content": {PROBLEM: {"schema": ref("Problem")}},
    }
    if status in _HEADERS:
        found["headers"] = {_HEADERS[status]: {"schema": {"type": "string"}}}
    return found
