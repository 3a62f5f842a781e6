"""/api/v1: rows, symbols, gaps, coverage, estimates, feeds, schemas. Every answer about data says how good it is."""

from collections.abc import Awaitable, Callable
from functools import partial
from hashlib import blake2b
from typing import Final
from urllib.parse import urlencode

import msgspec
from msgspec import Struct
from quart import Blueprint, Response, g, request
from quart.typing import ResponseReturnValue

from ssmd.archive.together import together
from ssmd.clock import NowNs, now_ns
from ssmd.errors import StoreDown
from ssmd.gateway.access import Meter, Principal, Series
from ssmd.gateway.cursor import encode_cursor
from ssmd.gateway.formats.packing import packer
from ssmd.gateway.formats.rows import SCHEMAS
from ssmd.gateway.formats.text import JsonRows, page_json
from ssmd.gateway.formats.writer import MEDIA_TYPE
from ssmd.gateway.history.catalog import Catalog, Resolved, SymbolRow
from ssmd.gateway.history.link import store_away
from ssmd.gateway.history.plan import Span
from ssmd.gateway.history.quality import Quality, quality_json, quality_members, window_members
from ssmd.gateway.history.service import MAX_JUDGED_NS, Answer, History, counted
from ssmd.gateway.parameters import Parameters, shown
from ssmd.gateway.problems import Problem
from ssmd.gateway.query import Headers, Pairs, RowsQuery, SpanQuery, rows_query, span_query
from ssmd.gateway.times import rfc3339
from ssmd.model import EventType

DAY_S: Final = 86_400
PATHS: Final[dict[str, EventType]] = {"trades": "trade", "quotes": "quote", "books": "book"}

IMMUTABLE: Final = "private, max-age=86400, immutable"
NO_STORE: Final = "no-store"
VARY: Final = "Accept, Accept-Encoding, Authorization, X-API-Key"

HEADER_WINDOWS: Final = 20
"""Of the quality in a header: what a client and the proxies before it take."""

EMPTY_HINT: Final = (
    "nothing was received then; quality says whether something is missing, /api/v1/coverage what there is"
)

View = Callable[..., Awaitable[ResponseReturnValue]]


class DataDeps(Struct, frozen=True):
    history: History
    catalog: Catalog
    meter: Meter
    now: NowNs = now_ns


def data_routes(deps: DataDeps) -> Blueprint:
    """Return the routes. Before each of them `quart.g.principal` is set, and `quart.g.request_id` may be."""
    routes = _Routes(deps)
    blueprint = Blueprint("data", __name__, url_prefix="/api/v1")

    def get(path: str, name: str, view: View) -> None:
        blueprint.add_url_rule(path, name, _answering(view), methods=["GET"])

    for path, kind in PATHS.items():
        get(f"/{path}", path, partial(routes.rows, kind))
    for name in ("symbols", "gaps", "coverage", "estimate", "feeds"):
        get(f"/{name}", name, getattr(routes, name))
    get("/schemas/<kind>", "schemas", routes.schemas)
    return blueprint


def _answering(view: View) -> View:
    async def answer(**arguments: str) -> ResponseReturnValue:
        try:
            return await view(**arguments)
        except StoreDown as error:
            raise store_away() from error

    return answer


class _Routes:
    def __init__(self, deps: DataDeps) -> None:
        self._history = deps.history
        self._catalog = deps.catalog
        self._meter = deps.meter
        self._now = deps.now

    # rows ----------------------------------------------------------------------------------------------------

    async def rows(self, kind: EventType) -> Response:
        headers = Headers(request.headers.get("Accept", ""), request.headers.get("Accept-Encoding", ""))
        query = rows_query(kind, _given(), headers, self._now())
        pinned = {} if query.cursor is None else query.cursor.versions
        resolved = await self._catalog.resolve(_principal(), query.which, kind, pinned)
        if query.shape.format == "json":
            return await self._page(query, resolved)
        return await self._download(query, resolved)

    async def _page(self, query: RowsQuery, resolved: Resolved) -> Response:
        answer = await self._history.page(query, resolved)
        cursor = None if answer.page.next is None else encode_cursor(answer.page.next)
        body = await self._history.blocking(_page_body, query, answer, cursor)
        is_closed = query.last is None and self._history.is_closed(answer.page.span)
        tag = blake2b(body, digest_size=16).hexdigest() + f"-{query.shape.compression}"
        if is_closed and request.if_none_match.contains(tag):
            return _not_modified(tag)
        body = body[:-1] + b"," + msgspec.json.encode({"request_id": _request_id()})[1:]
        response = Response(await self._history.blocking(_packed, query, body), content_type=MEDIA_TYPE["json"])
        if cursor is not None:
            response.headers["Link"] = f'<{_next_url(cursor)}>; rel="next"'
        for series, rows in counted(answer.page.rows).items():
            self._meter.count(_principal(), series, rows)
        return _described(response, query, tag if is_closed else None)

    async def _download(self, query: RowsQuery, resolved: Resolved) -> Response:
        body = await self._history.download(query, resolved, partial(self._meter.count, _principal()))
        tag = None
        if query.last is None and self._history.is_closed(body.plan.span):
            tag = await self._history.fingerprint(query, body.plan, body.quality)
            if request.if_none_match.contains(tag):
                return _not_modified(tag)
        response = Response(body, content_type=MEDIA_TYPE[query.shape.format])
        response.timeout = None  # as long as the client reads; the listener ends who does not
        if query.shape.format == "csv":
            response.headers["X-Ssmd-Quality"] = quality_json(body.quality, HEADER_WINDOWS)
        return _described(response, query, tag)

    # what there is -------------------------------------------------------------------------------------------

    async def symbols(self) -> Response:
        parameters = Parameters(_given(), self._now())
        text, feed = parameters.text("q") or "", parameters.token("feed")
        parameters.done()
        rows = await self._catalog.rows(_principal(), feed, text[:64])
        return self._listed({"data": await together(self._symbol, rows)})

    async def _symbol(self, row: SymbolRow) -> dict[str, object]:
        edges = await self._catalog.edges_of(row)
        return {
            "symbol": row.symbol,
            "name": row.name,
            "feed": row.feed,
            "types": row.types,
            "first": _time(edges.first_ns),
            "last": _time(edges.last_ns),
            "live": row.is_live,
        }

    async def feeds(self) -> Response:
        Parameters(_given(), self._now()).done()
        rows = await self._catalog.rows(_principal(), None)
        states = await self._catalog.feeds.all()
        data = []
        for name in sorted({row.feed for row in rows}):
            view, symbols = await self._catalog.feeds.live_view(name), [row.symbol for row in rows if row.feed == name]
            state = states[name]
            data.append(
                {
                    "feed": name,
                    "enabled": state.config.enabled,
                    "version": state.served,
                    "live_version": state.config.normalizer,
                    "versions": state.versions,
                    "symbols": symbols,
                    "connected": view.is_heard,
                    "pending": sorted(view.pending.intersection(symbols)),
                }
            )
        return self._listed({"data": data})

    async def schemas(self, kind: str) -> Response:
        Parameters(_given(), self._now()).done()
        columns = next((columns for name, columns in SCHEMAS.items() if name == kind), None)
        if columns is None:
            raise Problem("not_found", f"no such type: {shown(kind)}", f"one of {', '.join(SCHEMAS)}")
        fields = [{"name": one.name, "type": one.kind, "meaning": one.meaning} for one in columns]
        return self._listed({"type": kind, "fields": fields})

    # what is known of it -------------------------------------------------------------------------------------

    async def gaps(self) -> Response:
        resolved, span = await self._span(span_query(_given(), self._now(), DAY_S))
        quality = await self._history.quality(resolved, span)
        data = [window_members(window) for window in quality.windows if window.status in {"missing", "suspect"}]
        return self._listed({"data": data}, quality)

    async def coverage(self) -> Response:
        resolved, span = await self._span(span_query(_given(), self._now(), DAY_S))
        versions = {source.feed: source.version for source in resolved.sources}

        async def row(series: Series) -> dict[str, object]:
            edges = await self._catalog.edges(series, versions[series.feed])
            named = {"feed": series.feed, "symbol": series.symbol, "type": series.type}
            return {**named, "first": _time(edges.first_ns), "last": _time(edges.last_ns)}

        data = await together(row, sorted(resolved.series))
        return self._listed({"data": data}, await self._history.quality(resolved, span))

    async def estimate(self) -> Response:
        query = span_query(_given(), self._now(), 0, is_estimate=True)
        resolved = await self._catalog.resolve(_principal(), query.which, query.type)
        size = await self._history.estimate(resolved, Span(query.start_ns, query.end_ns))
        return self._listed({"estimate": size, "start": _time(query.start_ns), "end": _time(query.end_ns)})

    async def _span(self, query: SpanQuery) -> tuple[Resolved, Span]:
        if query.end_ns - query.start_ns > MAX_JUDGED_NS:
            days = MAX_JUDGED_NS // (DAY_S * 10**9)
            raise Problem("range_too_large", f"the range is longer than {days} days", f"ask for {days} days at a time")
        resolved = await self._catalog.resolve(_principal(), query.which, query.type)
        return resolved, Span(query.start_ns, query.end_ns)

    def _listed(self, members: dict[str, object], quality: Quality | None = None) -> Response:
        if quality is not None:
            members |= {"version": _version(quality), "quality": quality_members(quality)}
        body = msgspec.json.encode({**members, "request_id": _request_id()})
        response = Response(body, content_type=MEDIA_TYPE["json"])
        response.headers["Cache-Control"] = NO_STORE
        return response


def _page_body(query: RowsQuery, answer: Answer, cursor: str | None) -> bytes:
    rows = JsonRows(query.type, query.shape).texts(answer.page.rows)
    quality = quality_members(answer.quality)
    members: dict[str, object] = {"next_cursor": cursor, "version": _version(answer.quality), "quality": quality}
    return page_json(rows, members if rows else {**members, "hint": EMPTY_HINT})


def _packed(query: RowsQuery, body: bytes) -> bytes:
    packing = packer(query.shape.compression)
    return packing.pack(body) + packing.finish()


def _described(response: Response, query: RowsQuery, tag: str | None) -> Response:
    if query.shape.compression != "none":
        response.headers["Content-Encoding"] = query.shape.compression
    response.headers["Vary"] = VARY
    response.headers["Cache-Control"] = NO_STORE if tag is None else IMMUTABLE
    if tag is not None:
        response.set_etag(tag)
    return response


def _not_modified(tag: str) -> Response:
    response = Response(b"", 304)
    response.headers["Vary"] = VARY
    response.headers["Cache-Control"] = IMMUTABLE
    response.set_etag(tag)
    return response


def _next_url(cursor: str) -> str:
    kept = [(name, value) for name, value in _given() if name not in {"cursor", "start", "end"}]
    return f"{request.path}?{urlencode([*kept, ('cursor', cursor)])}"


def _given() -> Pairs:
    return list(request.args.items(multi=True))


def _principal() -> Principal:
    principal: Principal = g.principal
    return principal


def _request_id() -> str:
    return str(g.get("request_id", ""))


def _version(quality: Quality) -> str:
    """Return the one version of the answer; with several feeds there may be several."""
    return ",".join(sorted(set(quality.versions.values())))


def _time(at_ns: int | None) -> str | None:
    return None if at_ns is None else rfc3339(at_ns)
