"""Security row S13: an exchange is asked at its own hosts, encrypted, and nowhere else unless the operator says so."""

import pytest

from ssmd.errors import ConfigError
from ssmd.settings import ExchangeSettings, Settings, load
from ssmd.trees.addresses import allowed_hosts, feed_url, rest_url


def at(url: str, allowed: str = "") -> Settings:
    return Settings(kraken=ExchangeSettings(ws_url=url, allowed_hosts=allowed))


def rest_at(url: str, allowed: str = "") -> Settings:
    return Settings(kraken=ExchangeSettings(rest_url=url, allowed_hosts=allowed))


HERE = ["ws://127.0.0.1:4000/v2", "ws://localhost:4000/v2", "ws://[::1]:4000/v2", "wss://localhost:4000/v2"]


@pytest.mark.parametrize("url", ["wss://ws.kraken.com/v2", "wss://WS.Kraken.com:443/v2", *HERE])
def test_s13_an_exchange_is_reached_encrypted_at_its_own_hosts_or_on_this_machine(url):
    assert feed_url(at(url), "kraken") == url


@pytest.mark.parametrize(
    "url",
    [
        "ws://ws.kraken.com/v2",
        "ws://127.0.0.1.example.com/v2",
        "https://ws.kraken.com/v2",
        "wss://",
        "wss://ws.kraken.com:0/v2",
        "wss://ws.kraken.com:x/v2",
        "wss://ws.kraken.com:99999/v2",
        "wss://[::1/v2",
        "ws.kraken.com",
    ],
)
@pytest.mark.parametrize("allowed", ["", "127.0.0.1.example.com, ws.kraken.com"])
def test_s13_what_is_not_encrypted_or_no_address_is_refused_whatever_is_allowed(url, allowed):
    with pytest.raises(ConfigError, match=r"kraken\.ws_url is .*; write wss://"):
        feed_url(at(url, allowed), "kraken")


@pytest.mark.parametrize(
    "host",
    [
        "ws.kraken.com.evil.example",
        "evil-ws.kraken.com",
        "ws.kraken.com.",
        "kraken.com",
        "10.0.0.7",
        "169.254.169.254",
        "127.0.0.2",
        "simulator.ssmd.svc",
    ],
)
def test_s13_another_host_is_refused_with_the_setting_that_allows_it(host):
    url = f"wss://{host}/v2"
    with pytest.raises(ConfigError, match=r"allowed are api\.kraken\.com, ws\.kraken\.com") as caught:
        feed_url(at(url), "kraken")
    assert f'set allowed_hosts = "{host}" in [kraken] (SSMD_KRAKEN_ALLOWED_HOSTS)' in str(caught.value)
    assert feed_url(at(url, f"other.example,{host}"), "kraken") == url


def test_s13_the_host_that_counts_is_the_one_that_is_connected_to():
    for url in (
        "wss://ws.kraken.com@evil.example/v2",
        "wss://evil.example/ws.kraken.com",
        "wss://evil.example?ws.kraken.com",
    ):
        with pytest.raises(ConfigError, match=r"names the host evil\.example"):
            feed_url(at(url), "kraken")


def test_s13_rest_is_asked_at_the_same_hosts():
    assert rest_url(Settings(), "kraken") == "https://api.kraken.com"
    assert rest_url(rest_at("http://127.0.0.1:80/"), "kraken") == "http://127.0.0.1:80"
    assert rest_url(rest_at("https://proxy.example", "proxy.example"), "kraken") == "https://proxy.example"
    with pytest.raises(ConfigError, match=r"kraken\.rest_url names the host proxy\.example"):
        rest_url(rest_at("https://proxy.example"), "kraken")
    with pytest.raises(ConfigError, match="write https://"):
        rest_url(rest_at("http://api.kraken.com"), "kraken")


def test_s13_allowed_hosts_are_a_list_with_commas_in_any_spelling():
    settings = load(None, {"SSMD_KRAKEN_ALLOWED_HOSTS": " Sim.Example , [fd00::1],"})
    assert allowed_hosts(settings, "kraken") == {"sim.example", "fd00::1"}
    assert feed_url(at("wss://[FD00::1]:1/v2", "[fd00::1]"), "kraken")
    assert allowed_hosts(settings, "nowhere") == frozenset()
