"""Who gets in, and what an error looks like."""

import json

import httpx
import pytest
import structlog
import trio
from quart import Blueprint, Response, g, request

from ssmd.errors import BadRecord, BusDown, DatabaseDown, StoreDown
from ssmd.gateway.access import Limits
from ssmd.gateway.problems import STATUS, ParameterError, Problem, invalid
from ssmd.gateway.web.app import MAX_BODY_BYTES
from tests.gateway.fakes import ADMIN_KEY, KEY, FakeDoorkeeper, bearer, serving

MEMBERS = {"type", "title", "status", "code", "detail", "instance", "request_id"}


FAILURES = {
    "bug": RuntimeError(f"secret {KEY} in /home/somebody"),
    "group": ExceptionGroup("several", [Problem("unknown_symbol", "X", suggestions=["XY"])]),
    "nats": BusDown("nats://user:pw@host"),
    "store": StoreDown("disk"),
    "db": DatabaseDown("locked"),
    "torn": BadRecord("normalized/v1/kraken/trade/BTCUSD/2025/12/06/14-00.capnp.zst: cut off"),
    "parameters": invalid(ParameterError("limit", KEY, "at most 10000"), ParameterError("start", "x", "no time")),
}


def routes() -> Blueprint:
    """Return routes that do whatever a test wants."""
    made = Blueprint("made", __name__)

    @made.get("/api/v1/whoami")
    async def whoami():
        return {"client": g.principal.client_id}

    @made.get("/api/v1/fail/<what>")
    async def fail(what):
        if what == "nothing":
            return  # which no view may
        raise FAILURES[what] if what in FAILURES else Problem(what, "as asked", "do better")

    @made.post("/api/v1/echo")
    async def echo():
        return await request.get_json()

    @made.get("/api/v1/rows")
    async def rows():
        async def lines():
            for number in range(3):
                yield b"%d\n" % number

        return Response(lines(), content_type="application/x-ndjson", headers={"Cache-Control": "immutable"})

    return made


def checked(answer: httpx.Response, code: str) -> dict:
    """Return the body of an error, after everything that is true of each of them."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = answer.json()
    assert body.keys() >= MEMBERS
    assert (body["code"], body["status"], answer.status_code) == (code, STATUS[code], STATUS[code])
    assert body["type"] == f"/errors/{code}"
    assert answer.headers["x-request-id"] == body["request_id"] != ""
    assert "Traceback" not in answer.text
    assert KEY not in answer.text
    return body


async def test_every_route_needs_a_key_unless_it_is_named_as_open():
    async with serving(routes()) as (gateway, client):
        for path in ("/api/v1/whoami", "/api/v1/rows", "/api/v1/does-not-exist"):
            answer = await client.get(path)
            body = checked(answer, "missing_key")
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert "Authorization" in body["hint"]
        assert gateway.doorkeeper.tries == []


@pytest.mark.parametrize(
    "headers", [bearer(), {"Authorization": f"bearer  {KEY}"}, {"X-API-Key": KEY}], ids=["bearer", "lower", "x-api-key"]
)
async def test_a_key_is_taken_from_either_header_with_the_address_it_came_from(headers):
    async with serving(routes()) as (gateway, client):
        answer = await client.get(
            "/api/v1/whoami", headers=headers | {"Remote-Addr": "10.0.0.1", "X-Forwarded-For": "1.2.3.4"}
        )
        assert answer.json() == {"client": "reader"}
        assert gateway.doorkeeper.tries == [(KEY, "127.0.0.1")]


async def test_a_key_that_does_not_count_is_refused():
    async with serving(routes()) as (_, client):
        answer = await client.get("/api/v1/whoami", headers=bearer("ssmd_BBBBBBBB_nobody"))
        checked(answer, "invalid_key")
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize(
    "query",
    [
        f"?key={KEY}",
        f"?api_key={KEY}",
        "?token=abc",
        f"?symbol={KEY}",
        f"?ACCESS_TOKEN={KEY}",
        "?x=1&symbol=a&symbol=ssmd%5Faaaaaaaa%5Fsecret",
    ],
)
async def test_a_key_in_a_url_is_refused_even_with_a_good_one_in_the_header(query):
    async with serving(routes()) as (gateway, client):
        for path in ("/api/v1/whoami", "/health"):
            checked(await client.get(path + query, headers=bearer()), "invalid_parameter")
        assert gateway.doorkeeper.tries == []


@pytest.mark.parametrize("code", sorted(set(STATUS) - {"internal"}))
async def test_every_code_is_answered_as_problem_json_with_its_hint(code):
    async with serving(routes()) as (_, client):
        body = checked(await client.get(f"/api/v1/fail/{code}", headers=bearer()), code)
        assert (body["detail"], body["hint"], body["instance"]) == ("as asked", "do better", f"/api/v1/fail/{code}")


async def test_wrong_parameters_are_named_all_at_once_and_a_key_among_them_is_not_repeated():
    async with serving(routes()) as (_, client):
        body = checked(await client.get("/api/v1/fail/parameters", headers=bearer()), "invalid_parameter")
        assert [error["parameter"] for error in body["errors"]] == ["limit", "start"]
        assert body["errors"][0]["value"] == "ssmd_***"


async def test_what_a_problem_adds_stands_in_the_answer_also_out_of_a_group():
    async with serving(routes()) as (_, client):
        body = checked(await client.get("/api/v1/fail/group", headers=bearer()), "unknown_symbol")
        assert body["suggestions"] == ["XY"]


@pytest.mark.parametrize(("bug", "error"), [("bug", RuntimeError), ("nothing", TypeError)])
async def test_s21_a_bug_is_told_as_nothing_and_logged_with_its_request_id(bug, error):
    with structlog.testing.capture_logs() as logs:
        async with serving(routes()) as (_, client):
            answer = await client.get(f"/api/v1/fail/{bug}", headers=bearer())
            body = checked(answer, "internal")
            assert "secret" not in answer.text
            assert "/home" not in answer.text
    (logged,) = [line for line in logs if line["event"] == "request_failed"]
    assert logged["request_id"] == body["request_id"]
    assert isinstance(logged["exc_info"], error)


async def test_a_damaged_object_is_named_with_what_to_do():
    async with serving(routes()) as (_, client):
        body = checked(await client.get("/api/v1/fail/torn", headers=bearer()), "damaged")
        assert "trade/BTCUSD/2025/12/06/14-00" in body["detail"]
        assert "ssmd verify" in body["hint"]


@pytest.mark.parametrize("dependency", ["nats", "store", "db"])
async def test_an_outage_names_what_is_away_and_when_to_come_back_and_nothing_else(dependency):
    async with serving(routes()) as (_, client):
        answer = await client.get(f"/api/v1/fail/{dependency}", headers=bearer())
        body = checked(answer, "unavailable")
        assert body["missing"] == dependency
        assert int(answer.headers["retry-after"]) > 0
        assert "pw@host" not in answer.text


async def test_s21_nothing_here_and_a_wrong_method_are_problems_too():
    async with serving(routes()) as (_, client):
        for path in ("/nowhere", "/api/v1/nowhere", "/api/v1/whoami/", "/%00", "/docs/../../etc/passwd"):
            checked(await client.get(path, headers=bearer()), "not_found")
        answer = await client.post("/api/v1/whoami", headers=bearer())
        checked(answer, "method_not_allowed")
        assert answer.headers["allow"] == "GET, HEAD"
        checked(await client.delete("/health"), "method_not_allowed")
        checked(await client.options("/api/v1/whoami", headers=bearer()), "method_not_allowed")


async def test_a_body_that_is_too_large_or_no_json_is_refused():
    async with serving(routes()) as (_, client):
        ask = {"headers": bearer() | {"Content-Type": "application/json"}}
        assert (await client.post("/api/v1/echo", content=b'{"a":1}', **ask)).json() == {"a": 1}
        checked(await client.post("/api/v1/echo", content=b"{", **ask), "bad_request")
        checked(await client.post("/api/v1/echo", content=b" " * (MAX_BODY_BYTES + 1), **ask), "body_too_large")


async def test_a_client_that_asks_too_often_is_told_when_to_come_back_and_others_are_not_held_up():
    doorkeeper = FakeDoorkeeper(Limits(requests_per_s=0.01, requests_burst=3))
    async with serving(routes(), doorkeeper=doorkeeper) as (_, client):
        answers = [await client.get("/api/v1/whoami", headers=bearer()) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        checked(answers[3], "rate_limited")
        assert 90 < int(answers[3].headers["retry-after"]) <= 100
        assert (await client.get("/api/v1/whoami", headers=bearer(ADMIN_KEY))).status_code == 200
        assert (await client.get("/health")).status_code == 200


async def test_answers_carry_security_headers_and_an_id_that_sorts_by_time():
    async with serving(routes()) as (_, client):
        first = await client.get("/api/v1/rows", headers=bearer())
        await trio.sleep(0.002)
        second = await client.get("/health")
        assert first.text == "0\n1\n2\n"
        assert first.headers["cache-control"] == "immutable"
        assert second.headers["cache-control"] == "no-store"
        assert "server" not in first.headers
        for answer in (first, second):
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        ids = [answer.headers["x-request-id"] for answer in (first, second)]
        assert ids == sorted(ids)
        assert {len(each) for each in ids} == {26}


async def test_only_what_is_open_is_open():
    """Whoever adds a route gets a guarded one; this list changes only on purpose."""
    async with serving(routes()) as (_, client):
        found = {
            path: (await client.get(path)).status_code
            for path in (
                "/",
                "/health",
                "/health/ready",
                "/docs",
                "/openapi.json",
                "/asyncapi.json",
                "/llms.txt",
                "/subscribe",
            )
        }
        assert found == {**dict.fromkeys(found, 200), "/": 302, "/subscribe": 426}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"X-Forwarded-For": "203.0.113.7"}, 401),
        ({"Forwarded": "for=203.0.113.7", **bearer()}, 403),
        ({"Via": "1.1 proxy", **bearer(ADMIN_KEY)}, 200),
    ],
    ids=["here", "proxied", "client", "administrator"],
)
async def test_metrics_are_for_this_machine_and_for_administrators(headers, status):
    async with serving() as (_, client):
        answer = await client.get("/metrics", headers=headers)
        assert answer.status_code == status
        assert ("ssmd_gateway_requests_total" in answer.text) is (status == 200)


async def test_no_key_is_ever_logged():
    with structlog.testing.capture_logs() as logs:
        async with serving(routes()) as (_, client):
            for path in (f"/{KEY}", f"/api/v1/whoami?key={KEY}", "/api/v1/fail/parameters", f"/api/v1/fail/{KEY}"):
                answer = await client.get(path, headers=bearer())
                assert KEY not in answer.text
    assert KEY not in json.dumps(logs, default=str)
