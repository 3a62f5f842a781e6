"""Open a TCP connection to a name, and only to an address that the name may lead to.

A name is asked for once. What it leads to is looked at before anything is sent there, and the connection goes to that very
address: a second answer of DNS could be another one.
"""

import ipaddress
from collections.abc import Collection, Sequence
from typing import Final

import trio

from ssmd.errors import AddressRefused

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
"""How this machine is called; nothing else leads to it."""

STAGGER_S: Final = 0.25
"""An address that has not answered for so long gets a rival (RFC 8305): a dead IPv6 route must not cost seconds."""

_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


async def dial(host: str, port: int, private_hosts: Collection[str]) -> trio.SocketStream:
    """Connect to the first address of a host that answers. private_hosts: names that may lead anywhere.

    Raises AddressRefused when the host has no address where it may lead, OSError when none of them answers.
    """
    found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(place[0]) for *_, place in found))
    allowed = [address for address in addresses if may_lead_to(host, address, private_hosts)]
    if not allowed:
        raise AddressRefused(
            "address",
            f"{host} leads to {', '.join(addresses)}, where no exchange can be: mend DNS, "
            f"or name the host in the exchange's allowed_hosts if that is meant",
        )
    return await _first(allowed, port)


def may_lead_to(host: str, address: str, private_hosts: Collection[str]) -> bool:
    """Tell whether a name and what DNS says of it go together."""
    if host in private_hosts:
        return True
    parsed = ipaddress.ip_address(address)
    return parsed.is_loopback if host in LOOPBACK else is_public(parsed)


def is_public(address: Address) -> bool:
    """Tell whether an address is one host of the public internet, also behind what IPv6 wraps around IPv4."""
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast
    inner = address.ipv4_mapped or address.sixtofour
    if address in _NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if inner is not None:
        return is_public(inner)
    return address in _GLOBAL_UNICAST and address.is_global


async def _first(addresses: Sequence[str], port: int) -> trio.SocketStream:
    """Connect to whichever answers first; each later one begins when the one before failed or is slow."""
    opened: list[trio.SocketStream] = []
    errors: list[str] = []

    async def attempt(address: str, failed: trio.Event) -> None:
        try:
            opened.append(await trio.open_tcp_stream(address, port))
        except OSError as error:
            errors.append(_reason(address, error))
            failed.set()
        else:
            nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            for address in addresses:
                failed = trio.Event()
                nursery.start_soon(attempt, address, failed)
                with trio.move_on_after(STAGGER_S):
                    await failed.wait()
        if not opened:
            raise OSError("; ".join(errors))
        return opened.pop(0)
    finally:
        for spare in opened:  # one that came too late, or all when the deadline of the caller did
            spare.socket.close()


def _reason(address: str, error: OSError) -> str:
    """Return why there is no connection; Trio keeps it in a group below its own error."""
    cause = error.__cause__
    leaf = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else error
    return f"{address}: {leaf}"
