"""The app behind every route: who asks, how often, under which id, and what an error looks like.

Nothing is answered to nobody: a route that is not in OPEN is reached with a key only, and none can forget to ask.
"""

import math
import re
import time
from http import HTTPStatus
from typing import Final

from msgspec import Struct
from quart import Blueprint, Response, g, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed
from werkzeug.routing import RequestRedirect

from ssmd import metrics
from ssmd.clock import NowNs, now_ns
from ssmd.errors import BadRecord, BusDown, DatabaseDown, Outage, StoreDown
from ssmd.gateway.access import Doorkeeper, Principal
from ssmd.gateway.answers import problem_body, problem_headers
from ssmd.gateway.limits import Buckets, Rate
from ssmd.gateway.problems import ParameterError, Problem, invalid
from ssmd.gateway.web.request_ids import request_id
from ssmd.log import get_logger

OPEN: Final = frozenset(
    {
        "/",
        "/health",
        "/health/ready",
        "/openapi.json",
        "/asyncapi.json",
        "/llms.txt",
        "/docs",
        "/docs/page.js",
        "/docs/page.css",
        "/metrics",  # asks itself: this machine needs no key
        "/subscribe",  # says only that it is a WebSocket; as one it never gets here
    }
)
"""Paths that anybody may read: they hold nothing of anybody, or look at the key themselves."""
API: Final = "/api/"
MAX_BODY_BYTES: Final = 1 << 20
BODY_WITHIN_S: Final = 10
RETRY_OUTAGE_AFTER_S: Final = 5
LONGEST_WAIT_S: Final = 3600.0

_KEY_PARAMETER: Final = re.compile(r"(api[-_]?)?key|(access[-_]?)?token|authorization", re.IGNORECASE)
_KEY_VALUE: Final = re.compile(r"ssmd_[A-Za-z0-9]{4,}_")
_CODES: Final = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "body_too_slow",
    413: "body_too_large",
    415: "unsupported_media_type",
}
_SECURITY: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class AppParts(Struct, frozen=True):
    """What the app stands on. blueprints: the routes, each with its own dependencies."""

    doorkeeper: Doorkeeper
    blueprints: tuple[Blueprint, ...] = ()
    now: NowNs = now_ns


class App(QuartTrio):
    def log_exception(self, _exception_info: object) -> None:
        """Say nothing: whoever answers the error logs it, in our way."""


def make_app(parts: AppParts) -> App:
    app = App("ssmd.gateway", static_folder=None)
    app.config.update(
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        BODY_TIMEOUT=BODY_WITHIN_S,
        PROVIDE_AUTOMATIC_OPTIONS=False,
        PROPAGATE_EXCEPTIONS=False,
        RESPONSE_TIMEOUT=None,  # a long answer may take its time; each write has a deadline
    )
    app.url_map.merge_slashes = False
    desk = _Desk(parts)
    app.before_request(desk.admit)
    app.after_request(desk.finish)
    app.register_error_handler(Exception, desk.answer_error)
    for blueprint in parts.blueprints:
        app.register_blueprint(blueprint)
    return app


class _Desk:
    """What happens before and after each request."""

    def __init__(self, parts: AppParts) -> None:
        self._parts = parts
        self._requests: Buckets[str] = Buckets()
        self._log = get_logger(actor="web")

    async def admit(self) -> None:
        """Give the request its id and its client. Raises Problem before any route sees it."""
        g.request_id = request_id(self._parts.now())
        g.began_s = time.perf_counter()
        _refuse_key_in_url()
        if request.path in OPEN or not _is_reachable():
            return
        g.principal = await self._principal()
        self._count(g.principal)

    def _count(self, principal: Principal) -> None:
        """Take a token of this client's bucket. Raises Problem: rate_limited, with the time after which there is one."""
        limits = principal.limits
        rate = Rate(limits.requests_per_s, limits.requests_burst)
        wait_s = self._requests.take(principal.client_id, rate, time.monotonic())
        if wait_s:
            problem = Problem("rate_limited", f"this client may ask {rate.per_s:g} times per second", "ask less often")
            problem.retry_after_s = math.ceil(min(wait_s, LONGEST_WAIT_S))
            raise problem

    async def _principal(self) -> Principal:
        return await self._parts.doorkeeper.authenticate(key_given(), client_address())

    async def finish(self, response: Response) -> Response:
        response.headers["X-Request-Id"] = _request_id()
        response.headers.setdefault("Cache-Control", "no-store")
        for name, value in _SECURITY.items():
            response.headers.setdefault(name, value)
        if request.scheme == "https":
            response.headers["Strict-Transport-Security"] = "max-age=31536000"
        route = request.url_rule.rule if request.url_rule is not None else "none"
        metrics.GATEWAY_REQUESTS.labels(route, response.status_code).inc()
        metrics.GATEWAY_REQUEST.observe(time.perf_counter() - g.get("began_s", time.perf_counter()))
        return response

    async def answer_error(self, error: Exception) -> Response:
        """Return the answer to any error. What nobody meant to raise is logged with its traceback and told as nothing."""
        if isinstance(error, InternalServerError) and isinstance(error.original_exception, Exception):
            error = error.original_exception
        problem = _as_problem(error)
        if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            self._log.error("request_failed", path=request.path, request_id=_request_id(), exc_info=error)
        body = problem_body(problem, request.path, _request_id())
        headers = problem_headers(problem)
        if isinstance(error, MethodNotAllowed):
            headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
        return Response(body, problem.status, headers)


def client_address() -> str:
    """Return where the connection comes from, not what some header says of it."""
    client = request.scope.get("client")
    return str(client[0]) if client else ""


def _request_id() -> str:
    return str(g.get("request_id", ""))


def _is_reachable() -> bool:
    """Tell whether there may be something behind this path that must be guarded; all of the API is, existing or not."""
    return request.url_rule is not None or request.path.startswith(API)


def key_given() -> str:
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    bearer = credentials.strip() if scheme.lower() == "bearer" else ""
    key = bearer or request.headers.get("X-API-Key", "").strip()
    if not key:
        raise Problem(
            "missing_key",
            "this needs an API key",
            "send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`; `ssmd client add ID --type display` makes one",
        )
    return key


def _refuse_key_in_url() -> None:
    """A key in a URL stands in logs, in histories, in what a browser tells the next page: it is as good as published."""
    named = [name for name in request.args if _KEY_PARAMETER.fullmatch(name)]
    words = (request.path, *request.args, *(value for _, value in request.args.items(multi=True)))
    if named or any(_KEY_VALUE.search(word) for word in words):
        hint = "send it in a header, and rotate this one: it may be in a log by now"
        raise invalid(ParameterError(named[0] if named else "", "***", "a key does not belong in a URL"), hint=hint)


def _as_problem(error: Exception) -> Problem:
    match error:
        case Problem():
            return error
        case HTTPException():
            return _of_http(error)
        case Outage():
            return _of_outage(error)
        case BadRecord():
            return Problem(
                "damaged",
                f"archived data cannot be read: {error}",
                "ask for a time or a version without it; `ssmd verify` names all that is damaged, a reprocess makes it anew",
            )
    return Problem("internal", "something went wrong here; it has been logged under this request id")


def _of_http(error: HTTPException) -> Problem:
    code = "not_found" if isinstance(error, RequestRedirect) else _CODES.get(error.code or 500)
    if code is None:
        return Problem("internal", "something went wrong here; it has been logged under this request id")
    details = {"not_found": "nothing is here", "method_not_allowed": f"{request.method} is not for this path"}
    return Problem(code, details.get(code, HTTPStatus(error.code or 500).phrase.lower()), _HINTS.get(code, ""))


_HINTS: Final = {
    "not_found": "GET /openapi.json lists every path",
    "body_too_large": f"a body may have {MAX_BODY_BYTES} bytes",
    "body_too_slow": f"a body must arrive within {BODY_WITHIN_S} s",
}


_DEPENDENCIES: Final = {BusDown: "nats", StoreDown: "store", DatabaseDown: "db"}


def _of_outage(error: Outage) -> Problem:
    dependency = next((name for kind, name in _DEPENDENCIES.items() if isinstance(error, kind)), "something")
    hint = "try again; GET /health/ready names what is down, and the gateway's log why"
    problem = Problem("unavailable", f"{dependency} cannot be used now", hint, missing=dependency)
    problem.retry_after_s = RETRY_OUTAGE_AFTER_S
    return problem
