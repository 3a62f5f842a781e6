import httpx
import pytest

from tests.simulator.peer import call, connected, crc, on, simulated


async def get(endpoints, path, **params):
    status, body = await call(endpoints, "GET", path, **params)
    assert status == 200
    return body


async def test_asset_pairs_speak_v1_names():
    async with simulated() as endpoints:
        every = await get(endpoints, "/0/public/AssetPairs")
        one = await get(endpoints, "/0/public/AssetPairs", pair="XBTUSD")
    assert every["error"] == []
    assert len(every["result"]) >= 60
    pair = one["result"]["XXBTZUSD"]
    assert (pair["altname"], pair["wsname"], pair["pair_decimals"], pair["lot_decimals"]) == ("XBTUSD", "XBT/USD", 1, 8)
    assert (every["result"]["XDGUSD"]["wsname"], every["result"]["SOLUSD"]["base"]) == ("XDG/USD", "SOL")


@pytest.mark.parametrize("name", ["NOSUCH", "XBTUSD,NOSUCH", "BTC/USD"])
async def test_an_unknown_pair_is_an_error_in_a_200(name):
    async with simulated() as endpoints:
        assert await get(endpoints, "/0/public/AssetPairs", pair=name) == {"error": ["EQuery:Unknown asset pair"]}


async def test_time_and_status_are_answered():
    async with simulated() as endpoints:
        time = await get(endpoints, "/0/public/Time")
        status = await get(endpoints, "/0/public/SystemStatus")
    assert time["result"]["unixtime"] > 1_700_000_000
    assert status["result"]["status"] == "online"


async def test_an_ordinary_http_client_gets_along():
    async with simulated() as endpoints, httpx.AsyncClient() as http:
        answer = await http.post(f"{endpoints.rest_url}/sim/faults", params={"fault": "garbage"}, content=b"a body")
        assert answer.json() == {"error": []}
        assert (await http.get(f"{endpoints.rest_url}/0/public/Time")).json()["error"] == []


async def test_other_paths_are_not_found():
    async with simulated() as endpoints:
        assert (await call(endpoints, "GET", "/0/public/Nothing"))[0] == 404
        assert (await call(endpoints, "POST", "/0/public/Time"))[0] == 404


async def test_an_unknown_fault_is_refused_with_the_legal_names():
    async with simulated() as endpoints:
        for fault in ("explode", "", "checksum:XBT/USD"):
            status, body = await call(endpoints, "POST", "/sim/faults", fault=fault)
            assert (status, body["error"] != []) == (400, True)


async def test_the_books_shown_are_those_that_clients_were_told():
    async with simulated(rate_per_s=0.001) as endpoints, connected(endpoints) as peer:
        await peer.subscribe("book", "SOL/USD")
        (told,) = (await peer.until(on("book")))["data"]
        shown = await get(endpoints, "/sim/books", levels=10)
    assert set(shown) == {"BTC/USD", "ETH/USD", "SOL/USD"}
    book = shown["SOL/USD"]
    for side in ("bids", "asks"):
        assert book[side] == [[level["price"], level["qty"]] for level in told[side]]
    assert book["checksum"] == crc(dict(book["asks"]), dict(book["bids"])) == int(told["checksum"])


async def test_the_summary_counts_every_connection_and_broken_limits():
    async with simulated(rate_per_s=0.001, requests_per_s=0.001, request_burst=1) as endpoints:
        async with connected(endpoints) as peer:
            await peer.ask("ping")
            await peer.ask("ping")
            await peer.answer()
            await peer.answer()
        async with connected(endpoints):
            summary = await get(endpoints, "/sim/ledger-summary")
    first, second = summary["connections"]
    assert (first["requests"], first["sent"], first["open"], first["ended_by"]) == (2, 3, False, "client")
    assert (second["conn"], second["sent"], second["open"]) == (1, 1, True)
    assert summary["limits_broken"] == {"connects": 0, "requests": 1}
