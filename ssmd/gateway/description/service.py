"""The operations that need no key: health, and the description itself."""

from typing import Final

from ssmd.gateway.description.parts import JSON, Answer, Operation, Parameter, ref, text
from ssmd.gateway.description.schemas import EVENT_TYPE, FEED

_ETAG: Final = {"ETag": "Strong."}
_SAME: Final = Answer("Not changed since the ETag that you have.", {}, status=304)


def _page(path: str, name: str, summary: str, kind: str) -> Operation:
    answers = (Answer("The page.", {kind: text() if kind != JSON else {"type": "object"}}, _ETAG), _SAME)
    return Operation("get", path, name, "service", summary, answers, is_open=True)


SERVICE: Final = (
    Operation(
        "get",
        "/health",
        "health",
        "service",
        "Is the process alive?",
        (Answer("It is.", {JSON: ref("Alive")}),),
        is_open=True,
    ),
    Operation(
        "get",
        "/health/ready",
        "ready",
        "service",
        "Are NATS, the store and the database there?",
        (
            Answer("All of them.", {JSON: ref("Ready")}),
            Answer("Not all of them.", {JSON: ref("Ready")}, {"Retry-After": "Seconds."}, status=503),
        ),
        is_open=True,
    ),
    Operation(
        "get",
        "/metrics",
        "metrics",
        "service",
        "Metrics in Prometheus' text format",
        (Answer("Samples.", {"text/plain": text()}),),
        errors=("not_entitled",),
        about="Without a key from the machine itself, with the administrator's key from elsewhere.",
    ),
    Operation(
        "post",
        "/api/v1/ws-ticket",
        "ws_ticket",
        "live",
        "A ticket for a browser's WebSocket: /subscribe?ticket=…, for one use",
        (Answer("A ticket.", {JSON: ref("Ticket")}, status=201),),
    ),
    _page("/openapi.json", "openapi", "This document", JSON),
    _page("/asyncapi.json", "asyncapi", "The messages of /subscribe", JSON),
    _page("/llms.txt", "llms", "How an agent uses this, in short", "text/plain"),
    _page("/docs", "docs", "This document as a page", "text/html"),
    _page("/docs/page.js", "docs_script", "The script of that page", "text/javascript"),
    _page("/docs/page.css", "docs_style", "The style of that page", "text/css"),
    Operation("get", "/", "home", "service", "Leads to /docs", (Answer("To /docs.", {}, {"Location": "Where."}, status=302),), is_open=True),
    Operation(
        "get",
        "/subscribe",
        "subscribe",
        "live",
        "Live data over WebSocket",
        (Answer("The WebSocket is open; /asyncapi.json has its messages.", {}, status=101),),
        (
            Parameter("symbols", "subscribed at once, with commas", example="BTCUSD,ETHUSD"),
            Parameter("types", "trade, quote, book; without it all that the key allows", text(examples=[EVENT_TYPE["enum"]])),
            Parameter("feed", "only from this feed", FEED),
            Parameter("from", "now, pos:N or id:ID (behind that message), a time, or -5m", example="-5m"),
            Parameter("snapshot", "begin with the last quote and book", text(enum=["true", "false"])),
            Parameter("ticket", "from POST /api/v1/ws-ticket"),
            Parameter("slow", "what becomes of a slow reader", text(enum=["skip", "close"])),
        ),
        ("upgrade_required",),
        is_open=True,
        about='Authorize with a header, or send {"op":"auth","key":"…"} first. Every key in a URL is refused.',
    ),
)  # fmt: skip
