"""Where an exchange is: encrypted, on one of its own hosts or one that the operator allowed, or a simulator right here."""

from collections.abc import Collection
from urllib.parse import urlsplit

from ssmd.actors.dialing import LOOPBACK
from ssmd.errors import ConfigError
from ssmd.protocols import exchange
from ssmd.settings import Settings, without_passwords


def feed_url(settings: Settings, feed: str) -> str:
    """Return where a feed comes from, by the settings or by what its exchange says. Raises ConfigError."""
    venue = exchange(feed)
    hosts = venue.hosts | allowed_hosts(settings, feed)
    return exchange_url(settings.exchange(feed).ws_url or venue.ws_url, f"{feed}.ws_url", hosts)


def rest_url(settings: Settings, feed: str) -> str:
    """Return the root of an exchange's REST, in the same way. Raises ConfigError."""
    hosts = exchange(feed).hosts | allowed_hosts(settings, feed)
    return exchange_url(named_rest_url(settings, feed), f"{feed}.rest_url", hosts)


def named_rest_url(settings: Settings, feed: str) -> str:
    """Return that root as it is written, not looked at: good as a name, not to be asked."""
    return settings.exchange(feed).rest_url.rstrip("/") or exchange(feed).rest_url


def allowed_hosts(settings: Settings, feed: str) -> frozenset[str]:
    """Return the hosts that the operator has added to those of a feed's exchange; they may have a private address."""
    parts = settings.exchange(feed).allowed_hosts.split(",")
    return frozenset(filter(None, (part.strip().strip("[]").lower() for part in parts)))


def exchange_url(url: str, key: str, hosts: Collection[str]) -> str:
    """Return the address of an exchange if it may be asked. key: the setting. Raises ConfigError with what is allowed."""
    encrypted, plain = ("wss", "ws") if key.endswith(".ws_url") else ("https", "http")
    scheme, host = _scheme_and_host(url)
    is_here = host in LOOPBACK
    if not host or (scheme != encrypted and not (scheme == plain and is_here)):
        raise ConfigError(
            f"{key} is {without_passwords(url)!r}; write {encrypted}://HOST/PATH, or {plain}://127.0.0.1:PORT "
            f"for a simulator on this machine: what is not encrypted can be forged on its way"
        )
    if not is_here and host not in hosts:
        section = key.partition(".")[0]
        raise ConfigError(
            f"{key} names the host {host}; allowed are {', '.join(sorted(hosts))}. "
            f'If it is meant, set allowed_hosts = "{host}" in [{section}] (SSMD_{section.upper()}_ALLOWED_HOSTS)'
        )
    return url


def _scheme_and_host(url: str) -> tuple[str, str]:
    """Return both as a connection would take them, the host empty where it could not."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # brackets that do not close, a port that is no number
        return "", ""
    return parts.scheme, "" if port == 0 else host or ""
