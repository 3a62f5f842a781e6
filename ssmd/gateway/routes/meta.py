"""What the gateway tells of itself: is it well, what can be asked, and pages that explain it without any other host."""

from collections.abc import Awaitable, Callable
from importlib import resources
from ipaddress import ip_address
from typing import Final, Literal

import msgspec
from msgspec import Struct
from quart import Blueprint, Response, redirect, request
from werkzeug.wrappers import Response as WerkzeugResponse

from ssmd import __version__, metrics
from ssmd.gateway.access import Doorkeeper
from ssmd.gateway.description import asyncapi, llms_text, openapi
from ssmd.gateway.problems import Problem
from ssmd.gateway.web.app import client_address, key_given
from ssmd.gateway.web.health import Alive, ChildState, Ready
from ssmd.supervisor import HealthBoard

PAGES: Final = {
    "/docs": ("docs.html", "text/html; charset=utf-8"),
    "/docs/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/docs/page.css": ("page.css", "text/css; charset=utf-8"),
}
PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
CACHED: Final = "public, max-age=300"
PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"


class MetaParts(Struct, frozen=True):
    """observe: called before the metrics are rendered, to renew those that nobody else does."""

    board: HealthBoard
    doorkeeper: Doorkeeper
    observe: Callable[[], None] = lambda: None


def meta_routes(parts: MetaParts) -> Blueprint:
    routes = Blueprint("meta", __name__)
    desk = _Meta(parts)
    routes.get("/health")(desk.health)
    routes.get("/health/ready")(desk.ready)
    routes.get("/metrics")(desk.metrics)
    routes.get("/")(_home)
    routes.get("/subscribe")(_no_upgrade)
    for path, content, kind in _texts():
        routes.add_url_rule(path, path.strip("/").replace(".", "-"), _giving(content, kind), methods=["GET"])
    return routes


class _Meta:
    def __init__(self, parts: MetaParts) -> None:
        self._parts = parts

    async def health(self) -> Response:
        children = tuple(
            ChildState(child.path, child.state.value, child.restarts) for child in self._parts.board.snapshot()
        )
        return _json(Alive("ok", "gateway", __version__, children))

    async def ready(self) -> Response:
        checks: dict[str, Literal["ok", "down"]] = {
            check.name: "ok" if check.is_ok else "down" for check in self._parts.board.checks()
        }
        is_ready = self._parts.board.ready
        answer = _json(Ready("ready" if is_ready else "not ready", checks), 200 if is_ready else 503)
        if not is_ready:
            answer.headers["Retry-After"] = "5"
        return answer

    async def metrics(self) -> Response:
        """Client names are labels, so this is for this machine and for administrators."""
        if not _is_from_here():
            principal = await self._parts.doorkeeper.authenticate(key_given(), client_address())
            if not principal.is_admin:
                raise Problem("not_entitled", "metrics are for administrators", "the role's ops port has them too")
        self._parts.observe()
        return Response(metrics.render(), content_type=PROMETHEUS)


def _is_from_here() -> bool:
    """Tell whether this machine asks for itself, not a proxy on it for somebody else."""
    forwarded = ("Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via")
    try:
        is_loopback = ip_address(client_address()).is_loopback
    except ValueError:
        is_loopback = False
    return is_loopback and not any(name in request.headers for name in forwarded)


async def _home() -> WerkzeugResponse:
    return redirect("/docs")


async def _no_upgrade() -> Response:
    hint = f"open it with a WebSocket client: ws://{request.host}/subscribe?symbols=BTCUSD"
    raise Problem("upgrade_required", "/subscribe is a WebSocket", hint)


def _texts() -> list[tuple[str, bytes, str]]:
    """Return every page that never changes while this runs: (path, content, kind)."""
    pages = resources.files("ssmd.gateway") / "pages"
    return [
        ("/openapi.json", msgspec.json.encode(openapi()), "application/json"),
        ("/asyncapi.json", msgspec.json.encode(asyncapi()), "application/json"),
        ("/llms.txt", llms_text().encode(), "text/plain; charset=utf-8"),
        *((path, (pages / name).read_bytes(), kind) for path, (name, kind) in PAGES.items()),
    ]


def _giving(content: bytes, kind: str) -> Callable[[], Awaitable[Response]]:
    async def give() -> Response:
        answer = Response(content, content_type=kind, headers={"Cache-Control": CACHED})
        if kind.startswith("text/html"):
            answer.headers["Content-Security-Policy"] = PAGE_POLICY
        await answer.add_etag()
        return await answer.make_conditional(request)

    return give


def _json(content: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content) + b"\n", status, content_type="application/json")
