"""What can go wrong, as the reader of data may react to it. The text is what is wrong, what to do, and the request id.

SsmdError
├── AuthError           no key, a key that does not count, or one that was taken back
├── NotFound            no such symbol for this key; suggestions are what it may be
├── InvalidParameter    the request cannot be understood; errors names every wrong parameter
├── RangeTooLarge       ask for less at a time; estimate is how much it would be
├── RateLimited         too many requests or devices; retry_after_s
├── Unavailable         the gateway is away, overloaded, or an answer was cut: trying again may help
└── MissingExtra        a package that this needs is not installed (also an ImportError)
"""

from typing import Final

import msgspec
from msgspec import Struct


class ParameterError(Struct, frozen=True):
    """One wrong parameter: as it was given, and what is allowed."""

    parameter: str
    detail: str
    value: str = ""


class Estimate(Struct, frozen=True):
    """About how much an answer holds. rows: from a sample. ndjson_bytes: before compression. start, end: of the range."""

    rows: int
    stored_bytes: int
    ndjson_bytes: int
    objects: int
    start: str = ""
    end: str = ""


class Problem(Struct, frozen=True):
    """An error as the gateway says it: the members of its problem+json that a program needs."""

    code: str = ""
    detail: str = ""
    hint: str = ""
    request_id: str = ""
    suggestions: tuple[str, ...] = ()
    errors: tuple[ParameterError, ...] = ()
    estimate: Estimate | None = None
    retry_after_s: float | None = None
    oldest_pos: int | None = None


class SsmdError(Exception):
    """The root of everything that is raised here on purpose. `code` is the gateway's, empty for what it did not say."""

    def __init__(self, problem: Problem | str, hint: str = "") -> None:
        said = Problem(detail=problem, hint=hint) if isinstance(problem, str) else problem
        super().__init__(_text(said))
        self.problem = said
        self.code = said.code
        self.detail = said.detail
        self.hint = said.hint
        self.request_id = said.request_id


class AuthError(SsmdError):
    """There is no key, or it does not count."""


class NotFound(SsmdError):
    """There is no such thing for this key; `suggestions` are what may have been meant."""

    @property
    def suggestions(self) -> tuple[str, ...]:
        return self.problem.suggestions


class InvalidParameter(SsmdError):
    """What was asked for cannot be understood; `errors` names every wrong parameter."""

    @property
    def errors(self) -> tuple[ParameterError, ...]:
        return self.problem.errors


class RangeTooLarge(SsmdError):
    """The range is longer than one answer may be; `estimate` is how much it holds."""

    @property
    def estimate(self) -> Estimate | None:
        return self.problem.estimate


class RateLimited(SsmdError):
    """Too many requests or devices of this client."""

    @property
    def retry_after_s(self) -> float | None:
        return self.problem.retry_after_s


class Unavailable(SsmdError):
    """The gateway cannot be reached, cannot answer now, or its answer was cut."""

    @property
    def retry_after_s(self) -> float | None:
        return self.problem.retry_after_s


class MissingExtra(SsmdError, ImportError):
    """A package is not installed that only this needs."""


_KINDS: Final[dict[int, type[SsmdError]]] = {
    400: InvalidParameter,
    401: AuthError,
    403: AuthError,
    404: NotFound,
    406: InvalidParameter,
    413: RangeTooLarge,
    422: InvalidParameter,
    429: RateLimited,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}
_KIND_OF_CODE: Final[dict[str, type[SsmdError]]] = {
    "invalid_parameter": InvalidParameter,
    "start_after_end": InvalidParameter,
    "missing_key": AuthError,
    "invalid_key": AuthError,
    "not_entitled": AuthError,
    "unknown_symbol": NotFound,
    "rate_limited": RateLimited,
    "unavailable": Unavailable,
}


def answer_error(status: int, body: bytes, retry_after: str = "") -> SsmdError:
    """Return the error that an HTTP answer is. What is no problem+json comes from something between us and a gateway."""
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except msgspec.MsgspecError:
        problem = Problem(detail=f"HTTP {status}, and no word of a gateway", hint="is this the address of a gateway?")
    if problem.retry_after_s is None and retry_after.isdecimal():
        problem = msgspec.structs.replace(problem, retry_after_s=float(retry_after))
    return _KINDS.get(status, SsmdError)(problem)


def told_error(problem: Problem) -> SsmdError:
    """Return the error that a message of a WebSocket is."""
    return _KIND_OF_CODE.get(problem.code, SsmdError)(problem)


def _text(problem: Problem) -> str:
    found = f"; did you mean {' or '.join(problem.suggestions)}?" if problem.suggestions else ""
    hint = f"; {problem.hint}" if problem.hint else ""
    request = f" (request {problem.request_id})" if problem.request_id else ""
    return f"{problem.detail or problem.code}{found}{hint}{request}"
