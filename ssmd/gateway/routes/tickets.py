"""/api/v1/ws-ticket: for browsers, which cannot send a key with a WebSocket."""

from http import HTTPStatus

import msgspec
from quart import Blueprint, Response, g

from ssmd.gateway.live.tickets import VALID_S, Tickets


def ticket_routes(tickets: Tickets) -> Blueprint:
    routes = Blueprint("tickets", __name__)

    @routes.post("/api/v1/ws-ticket")
    async def issue() -> Response:
        content = {"ticket": tickets.issue(g.principal), "valid_s": VALID_S}
        return Response(msgspec.json.encode(content) + b"\n", HTTPStatus.CREATED, content_type="application/json")

    return routes
