"""Every error that a client may see. REST answers with it as application/problem+json, WebSocket as an error message.

One class: a client's reaction is told by `code`, a program's by `status`. Anything else that is raised is a bug: it is
logged with its traceback and answered as `internal`, without any of its text.
"""

from typing import Final

from msgspec import Struct

from ssmd.errors import SsmdError

STATUS: Final = {
    "invalid_parameter": 400,
    "bad_request": 400,
    "missing_key": 401,
    "invalid_key": 401,
    "not_entitled": 403,
    "origin_refused": 403,
    "unknown_symbol": 404,
    "not_found": 404,
    "method_not_allowed": 405,
    "not_acceptable": 406,
    "head_too_slow": 408,
    "body_too_slow": 408,
    "conflict": 409,
    "resume_expired": 410,
    "range_too_large": 413,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "start_after_end": 422,
    "upgrade_required": 426,
    "rate_limited": 429,
    "head_too_large": 431,
    "damaged": 500,
    "internal": 500,
    "unavailable": 503,
}
"""HTTP status by code."""


class ParameterError(Struct, frozen=True):
    """One wrong parameter: as it was given, and what is allowed."""

    parameter: str
    value: str
    detail: str


class Problem(SsmdError):
    """What a client did wrong or cannot have now. `more` are members of this code: suggestions, estimate, oldest.

    Never a key, a token or a path of this machine.
    """

    def __init__(self, code: str, detail: str, hint: str = "", **more: object) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.status = STATUS[code]
        self.detail = detail
        self.hint = hint
        self.errors: tuple[ParameterError, ...] = ()
        self.retry_after_s: int | None = None
        self.more = more


def invalid(*errors: ParameterError, hint: str = "") -> Problem:
    """Return the problem of one or several wrong parameters."""
    detail = "; ".join(f"{error.parameter}: {error.detail}" for error in errors)
    problem = Problem("invalid_parameter", detail, hint)
    problem.errors = errors
    return problem
