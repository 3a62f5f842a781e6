"""How a problem looks on the wire: application/problem+json (RFC 9457), the same shape for every error there is."""

import re
from typing import Final

import msgspec

from ssmd.gateway.problems import Problem

PROBLEM_JSON: Final = "application/problem+json"
KEY: Final = re.compile(rb"ssmd_[A-Za-z0-9]{4,}_[A-Za-z0-9_~.+/=-]+")
"""Whatever looks like a key, wherever it stood: nothing that we say repeats one."""

BEARER: Final = 'Bearer realm="ssmd"'
_HTTP_REASON: Final = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}


def problem_body(problem: Problem, instance: str, request_id: str) -> bytes:
    """Return the body of the answer. instance: the path that was asked for."""
    content: dict[str, object] = {
        "type": f"/errors/{problem.code}",
        "title": problem.code.replace("_", " ").capitalize(),
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
        "instance": instance,
        "request_id": request_id,
    }
    if problem.errors:
        content["errors"] = problem.errors
    if problem.hint:
        content["hint"] = problem.hint
    return KEY.sub(b"ssmd_***", msgspec.json.encode(content | problem.more)) + b"\n"


def problem_headers(problem: Problem) -> dict[str, str]:
    """Return the headers that belong to this problem alone."""
    headers = {"Content-Type": PROBLEM_JSON, "Cache-Control": "no-store"}
    if problem.status == 401:
        headers["WWW-Authenticate"] = BEARER if problem.code == "missing_key" else f'{BEARER}, error="invalid_token"'
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(problem.retry_after_s)
    return headers


def raw_answer(problem: Problem, request_id: str) -> bytes:
    """Return a whole HTTP/1.1 answer that ends the connection: for what never became a request."""
    body = problem_body(problem, "", request_id)
    headers = {
        **problem_headers(problem),
        "X-Request-Id": request_id,
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    reason = _HTTP_REASON.get(problem.status, "Error")
    lines = (f"HTTP/1.1 {problem.status} {reason}", *(f"{name}: {value}" for name, value in headers.items()), "", "")
    return "\r\n".join(lines).encode() + body
