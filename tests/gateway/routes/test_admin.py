"""/api/v1/admin and /api/v1/audit, as a client of HTTP sees them."""

import csv
import io
from contextlib import AsyncExitStack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ssmd.gateway.access import Grant, Series
from ssmd.settings import ADMIN_KEY_FILE
from tests.gateway.opened import Clock, opened, visitor
from tests.gateway.routes.app import app_of


class Asking:
    """Asks with a key, and gives status and decoded body."""

    def __init__(self, service, key: str) -> None:
        self._client = app_of(service).test_client()
        self._headers = {"X-API-Key": key}

    async def __call__(self, method: str, path: str, json: object = None, **headers: str):
        more = {} if json is None else {"json": json}
        answer = await self._client.open(f"/api/v1/{path}", method=method, headers=self._headers | headers, **more)
        return answer.status_code, await answer.get_json(force=True, silent=True)

    async def text(self, path: str, **headers: str):
        answer = await self._client.get(f"/api/v1/{path}", headers=self._headers | headers)
        return answer, await answer.get_data(as_text=True)


@pytest.fixture
async def service(tmp_path):
    async with opened(tmp_path, Clock()) as service:
        yield service


@pytest.fixture
def ask(service, tmp_path):
    return Asking(service, (tmp_path / ADMIN_KEY_FILE).read_text().strip())


BOT = {"client_id": "bot", "type": "non-display"}
GRANT = {"feed": "kraken", "symbols": ["BTC*"], "data_types": ["trade"], "expires_at": "2027-01-31T12:00:00Z"}


async def test_a_client_from_its_first_key_to_its_end(service, ask):
    status, made = await ask("POST", "admin/clients", BOT | {"name": "Bot", "limits": {"devices": 2}})
    assert (status, made["client_id"]) == (201, "bot")
    bot = Asking(service, made["key"])
    assert (await bot("GET", "admin/clients"))[0] == 403
    status, said = await ask("POST", "admin/clients/bot/entitlements", GRANT)
    assert (status, said["client"]["grants"]) == (200, [GRANT | {"expires_at": "2027-01-31T12:00:00.000000000Z"}])
    status, known = await ask("GET", "admin/clients/bot")
    assert known["client"]["limits"]["devices"] == 2
    assert [key["key_id"] for key in known["keys"]] == [made["key_id"]]
    assert made["key"] not in str(known)
    async with AsyncExitStack() as stack:
        principal = await service.doorkeeper.authenticate(made["key"], "192.0.2.1")
        assert principal.grants[0].symbols == ("BTC*",)
        status, _ = await ask("POST", "admin/clients/bot/keys", {"grace_s": 0})
        assert status == 201
        assert (await bot("GET", "admin/clients"))[1]["code"] == "invalid_key"
        assert (await ask("DELETE", "admin/clients/bot/entitlements/kraken"))[1]["client"]["grants"] == []
        assert (await ask("GET", "admin/clients/bot"))[1]["revoked"].keys() == {"kraken"}
        assert (await ask("DELETE", "admin/clients/bot"))[0] == 200
        assert (await ask("GET", "admin/clients"))[1] == {"clients": []}
        await stack.aclose()
    actions = [each["action"] for each in (await ask("GET", "admin/changes"))[1]["changes"]]
    assert actions == ["add", "entitle", "rotate", "revoke", "remove"]


async def test_live_sessions_are_listed_and_kicked(service, ask):
    bot = await visitor(service, "bot", Grant("kraken", ("*",)))
    async with AsyncExitStack() as stack:
        ear = await bot.connect(stack, "laptop")
        (session,) = (await ask("GET", "admin/sessions"))[1]["sessions"]
        assert (session["client_id"], session["device_id"], session["ip_address"]) == ("bot", "laptop", "192.0.2.1")
        assert (await ask("DELETE", f"admin/sessions/{session['session_id']}"))[0] == 200
        assert ear.closed == ["kicked"]
    assert (await ask("DELETE", f"admin/sessions/{session['session_id']}"))[0] == 404


async def test_an_environment_is_reconciled_and_its_drift_is_told_before(service, ask):
    revoked = await visitor(service, "revoked", Grant("kraken", ("*",)))
    await service.administration.revoke("me", "revoked", "kraken")
    grant = {"feed": "kraken", "symbols": ["*"]}
    body = {
        "environment": "lab",
        "clients": [BOT | {"grants": [grant]}, BOT | {"client_id": "revoked", "grants": [grant]}],
    }
    status, drift = await ask("PUT", "admin/entitlements?dry_run=true", body)
    assert (status, drift["dry_run"]) == (200, True)
    assert [(c["action"], c["client_id"]) for c in drift["changes"]] == [("add", "bot"), ("change", "revoked")]
    assert [(r["client_id"], r["feed"], r["symbols"]) for r in drift["refused"]] == [("revoked", "kraken", ["*"])]
    assert len((await ask("GET", "admin/entitlements"))[1]["clients"]) == 1
    done = (await ask("PUT", "admin/entitlements", body))[1]
    assert (done["changes"], done["refused"]) == (drift["changes"], drift["refused"])
    assert (await ask("PUT", "admin/entitlements", body))[1]["changes"] == []
    assert (await revoked.principal()).grants == ()
    assert (await ask("PUT", "admin/entitlements", {"environment": "lab", "clients": []}))[1]["changes"][0] == {
        "action": "remove", "client_id": "bot", "detail": "the file does not have it",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "place"),
    [
        ("POST", "admin/clients", BOT | {"type": "x"}, 400, "invalid_parameter", "$.type"),
        ("POST", "admin/clients", BOT | {"client_id": "@admin"}, 400, "invalid_parameter", "$.client_id"),
        ("POST", "admin/clients", BOT | {"unknown": 1}, 400, "invalid_parameter", "body"),
        ("POST", "admin/clients", [], 400, "invalid_parameter", "body"),
        ("POST", "admin/clients/bot/entitlements", GRANT | {"symbols": []}, 400, "invalid_parameter", "$.symbols"),
        ("POST", "admin/clients/bot/entitlements", GRANT | {"symbols": ["[a]"]}, 400, "invalid_parameter", "$.symbols[0]"),
        ("POST", "admin/clients/bot/entitlements", GRANT | {"expires_at": "soon"}, 400, "invalid_parameter", "expires_at"),
        ("POST", "admin/clients/bot/entitlements", GRANT | {"expires_at": "2027-02-30"}, 400, "invalid_parameter", "expires_at"),
        ("POST", "admin/clients/nobody/entitlements", GRANT, 404, "not_found", None),
        ("POST", "admin/clients/nobody/keys", {}, 404, "not_found", None),
        ("GET", "admin/clients/no%20body", None, 404, "not_found", None),
        ("DELETE", "admin/clients/nobody", None, 404, "not_found", None),
        ("PUT", "admin/entitlements", {"environment": "prod", "clients": []}, 409, "conflict", None),
        ("PUT", "admin/entitlements?dry_run=maybe", {"environment": "lab", "clients": []}, 400, "invalid_parameter", "dry_run"),
        ("PUT", "admin/entitlements", {"environment": "lab", "clients": [BOT, BOT]}, 400, "invalid_parameter", "clients"),
        ("GET", "admin/changes?limit=0", None, 400, "invalid_parameter", "limit"),
        ("GET", "audit/usage?month=2025-13", None, 400, "invalid_parameter", "month"),
        ("GET", "audit/usage?month=2025-12&feed=a.b", None, 400, "invalid_parameter", "feed"),
        ("GET", "audit/usage?months=2025-12", None, 400, "invalid_parameter", "months"),
        ("GET", "audit/usage?month=2025-12&month=2025-11", None, 400, "invalid_parameter", "month"),
        ("GET", "audit/usage?format=xml", None, 400, "invalid_parameter", "format"),
        ("GET", "audit/peak-users?date=2025-02-30", None, 400, "invalid_parameter", "date"),
        ("GET", "audit/peak-users?date=20250203", None, 400, "invalid_parameter", "date"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_told_with_its_place(ask, method, path, body, status, code, place):
    got, said = await ask(method, path, body)
    assert (got, said["code"]) == (status, code), said
    assert place is None or said["errors"][0]["parameter"] == place


async def test_reports_come_as_json_and_as_csv_with_the_same_rows(service, ask):
    bot = await visitor(service, "bot", Grant("kraken", ("*",)), type="trading")
    async with AsyncExitStack() as stack:
        await bot.connect(stack)
        for symbol in ("BTCUSD", "ETHUSD"):
            service.audit.count(await bot.principal(), Series("kraken", "trade", symbol), 7)
    service.audit._now.forward(60)
    for path in (
        "usage?month=2025-12&feed=kraken",
        "display-vs-nondisplay?month=2025-12",
        "peak-users?date=2025-12-06",
    ):
        _, json = await ask("GET", f"audit/{path}")
        answer, text = await ask.text(f"audit/{path}", Accept="text/csv")
        assert answer.content_type == "text/csv; charset=utf-8"
        assert text == (await ask.text(f"audit/{path}&format=csv"))[1]
        rows = list(csv.DictReader(io.StringIO(text)))
        if "rows" in json:
            assert [{k: str(v) for k, v in row.items()} for row in json["rows"]] == rows
            assert sum(row["message_count"] for row in json["rows"]) == 14
        else:
            assert (rows[0]["peak"], rows[0]["trading"]) == (str(json["peak"]), "1" if json["peak"] else "0")
    assert (await ask("GET", "audit/usage", Accept="image/png"))[0] == 406
    assert (await ask("GET", "audit/usage"))[1]["month"] == "2025-12"


async def test_only_the_administrator_gets_anything_here(service):
    bot = await visitor(service, "bot", Grant("kraken", ("*",)))
    for key, status in ((bot.key, 403), ("", 401), ("ssmd_aaaaaaaa_x", 401)):
        other = Asking(service, key)
        for method, path in (
            ("GET", "admin/clients"), ("POST", "admin/clients"), ("DELETE", "admin/clients/bot"), ("GET", "admin/sessions"),
            ("PUT", "admin/entitlements"), ("GET", "admin/changes"), ("GET", "audit/usage"), ("GET", "audit/peak-users"),
        ):  # fmt: skip
            assert (await other(method, path, {} if method in {"POST", "PUT"} else None))[0] == status


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(min_size=1, max_size=20))
async def test_no_text_of_a_user_breaks_a_route(service, ask, text):
    for method, path, body in (
        ("POST", "admin/clients", BOT | {"client_id": text}),
        ("POST", "admin/clients/bot/entitlements", GRANT | {"symbols": [text], "feed": text}),
        ("POST", "admin/clients/bot/entitlements", GRANT | {"expires_at": text}),
    ):
        assert (await ask(method, path, body))[0] in {400, 404, 201, 409}
