"""A small app around blueprints: who asks is set, and problems are answered. The real one does more."""

import msgspec
from quart import Blueprint, Response, g, request
from quart_trio import QuartTrio

from ssmd.errors import Outage
from ssmd.gateway.access import Principal
from ssmd.gateway.entitlements import Entitlements
from ssmd.gateway.problems import Problem
from ssmd.gateway.routes.admin import admin_routes
from ssmd.gateway.routes.audit import audit_routes


def app_of(service: Entitlements) -> QuartTrio:
    app = QuartTrio("test")

    @app.before_request
    async def _admit() -> None:
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        g.principal = await service.doorkeeper.authenticate(request.headers.get("X-API-Key", bearer), "192.0.2.9")
        assert isinstance(g.principal, Principal)

    @app.errorhandler(Problem)
    async def _answer(problem: Problem) -> Response:
        body = {"code": problem.code, "detail": problem.detail, "hint": problem.hint, "errors": problem.errors}
        return Response(msgspec.json.encode(body), problem.status, content_type="application/problem+json")

    @app.errorhandler(Outage)
    async def _unavailable(error: Outage) -> Response:
        return await _answer(Problem("unavailable", str(error)))

    blueprints: list[Blueprint] = [admin_routes(service.administration), audit_routes(service.reports)]
    for blueprint in blueprints:
        app.register_blueprint(blueprint)
    return app
