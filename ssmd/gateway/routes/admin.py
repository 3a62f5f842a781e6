"""/api/v1/admin: clients, keys, sessions, entitlements. The administrator's key only."""

from http import HTTPStatus

import msgspec
from quart import Blueprint, Response, g, request

from ssmd.clock import NowNs, now_ns
from ssmd.gateway.access import Principal
from ssmd.gateway.administration import Administration, KeyTerms
from ssmd.gateway.clients import Client
from ssmd.gateway.keys import NewKey
from ssmd.gateway.problems import ParameterError, Problem, invalid
from ssmd.gateway.routes import bodies

MAX_CHANGES = 1000


def admin_routes(administration: Administration, now: NowNs = now_ns) -> Blueprint:
    """Return the routes. They expect g.principal, and raise Problem and DatabaseDown."""
    blueprint = Blueprint("admin", __name__, url_prefix="/api/v1/admin")
    blueprint.before_request(refuse_others)
    routes = _Routes(administration, now)
    for rule, method, view in (
        ("/clients", "GET", routes.list_clients),
        ("/clients", "POST", routes.add_client),
        ("/clients/<client_id>", "GET", routes.show_client),
        ("/clients/<client_id>", "DELETE", routes.remove_client),
        ("/clients/<client_id>/keys", "POST", routes.rotate_key),
        ("/clients/<client_id>/entitlements", "POST", routes.entitle),
        ("/clients/<client_id>/entitlements/<feed>", "DELETE", routes.revoke),
        ("/sessions", "GET", routes.list_sessions),
        ("/sessions/<session_id>", "DELETE", routes.kick),
        ("/entitlements", "GET", routes.list_clients),
        ("/entitlements", "PUT", routes.reconcile),
        ("/changes", "GET", routes.list_changes),
    ):
        blueprint.add_url_rule(rule, f"{method.lower()}_{view.__name__}_{rule.strip('/')[:8]}", view, methods=[method])
    return blueprint


def refuse_others() -> None:
    """Raise Problem for anybody but the administrator."""
    principal: Principal = g.principal
    if not principal.is_admin:
        raise Problem("not_entitled", "this needs the administrator's key", "it lies beside the gateway's database")


class _Routes:
    def __init__(self, administration: Administration, now: NowNs) -> None:
        self._administration = administration
        self._now = now

    async def list_clients(self) -> Response:
        policy = await self._administration.policy()
        return answer({"clients": [bodies.client_view(client) for client in policy.clients]})

    async def add_client(self) -> Response:
        body = bodies.read(await request.get_data(), bodies.NewClientBody)
        client = body.client()
        key = await self._administration.add(_actor(), client, body.key_expires_s)
        return _key_answer(client.client_id, key)

    async def show_client(self, client_id: str) -> Response:
        known = await self._administration.show(bodies.checked_id(client_id))
        keys = tuple(bodies.key_view(key, self._now()) for key in known.keys)
        return answer(bodies.KnownView(bodies.client_view(known.client), keys, bodies.revoked_view(known.marks)))

    async def remove_client(self, client_id: str) -> Response:
        await self._administration.remove(_actor(), bodies.checked_id(client_id))
        return answer({"removed": client_id})

    async def rotate_key(self, client_id: str) -> Response:
        body = bodies.read(await request.get_data(), bodies.RotateBody)
        terms = KeyTerms(body.grace_s, body.key_expires_s)
        return _key_answer(client_id, await self._administration.rotate(_actor(), bodies.checked_id(client_id), terms))

    async def entitle(self, client_id: str) -> Response:
        grant = bodies.read(await request.get_data(), bodies.GrantBody).grant()
        return _client_answer(await self._administration.entitle(_actor(), bodies.checked_id(client_id), grant))

    async def revoke(self, client_id: str, feed: str) -> Response:
        try:
            feed = msgspec.convert(feed, bodies.FeedName)
        except msgspec.ValidationError as error:
            raise invalid(ParameterError("feed", feed, "a-z, 0-9, _ and -, at most 32")) from error
        return _client_answer(await self._administration.revoke(_actor(), bodies.checked_id(client_id), feed))

    async def list_sessions(self) -> Response:
        return answer({"sessions": list(bodies.session_views(self._administration.sessions()))})

    async def kick(self, session_id: str) -> Response:
        await self._administration.kick(_actor(), session_id)
        return answer({"kicked": session_id})

    async def reconcile(self) -> Response:
        """Bring everything to what the body says; with ?dry_run=true only tell what differs."""
        body = bodies.read(await request.get_data(), bodies.EnvironmentBody)
        dry_run = request.args.get("dry_run", "false")
        if dry_run not in {"true", "false"}:
            raise invalid(ParameterError("dry_run", dry_run, "true or false"))
        wanted = [client.wanted() for client in body.clients]
        if len({each.client_id for each in wanted}) < len(wanted):
            raise invalid(ParameterError("clients", "", "each client once"))
        made = await self._administration.reconcile(_actor(), body.environment, wanted, dry_run=dry_run == "true")
        steps = [{"action": s.action, "client_id": s.client_id, "detail": s.detail} for s in made.steps]
        return answer({"dry_run": dry_run == "true", "changes": steps, "refused": made.refused})

    async def list_changes(self) -> Response:
        limit = request.args.get("limit", "100")
        if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:6]) <= MAX_CHANGES:
            raise invalid(ParameterError("limit", limit, f"1 to {MAX_CHANGES}"))
        return answer(await self._administration.record(int(limit)))


def answer(body: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(
        msgspec.json.encode(body), status, content_type="application/json", headers={"Cache-Control": "no-store"}
    )


def _client_answer(client: Client) -> Response:
    return answer({"client": bodies.client_view(client)})


def _key_answer(client_id: str, key: NewKey) -> Response:
    return answer(bodies.NewKeyView(client_id, key.key_id, key.text), HTTPStatus.CREATED)


def _actor() -> str:
    """Return who did it, for the record: the key and the address."""
    principal: Principal = g.principal
    return f"{principal.client_id} {principal.key_id} {request.remote_addr or ''}".strip()
