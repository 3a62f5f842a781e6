"""Security row S13: what DNS says of an exchange is looked at, and the connection goes to what was looked at."""

import socket

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from ssmd.actors.dialing import STAGGER_S, dial, is_public, may_lead_to
from ssmd.errors import AddressRefused, ConfigError, Outage

PUBLIC = ("104.16.1.1", "2606:4700::1")


class Names(trio.abc.HostnameResolver):
    """Answers each question with the next of the given answers, and the last one again and again."""

    def __init__(self, *answers: tuple[str, ...]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def getaddrinfo(self, _host, port, *_args):
        self.asked += 1
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    async def getnameinfo(self, *_args):
        raise NotImplementedError


class Network(trio.abc.SocketFactory):
    """A network in which an address answers after some seconds, never, or not at all."""

    def __init__(self, **after_s: float) -> None:
        self.after_s = {address.replace("_", "."): wait_s for address, wait_s in after_s.items()}
        self.tried: list[tuple[str, float]] = []
        self.sockets: list[FakeSocket] = []

    def socket(self, *_args):
        made = FakeSocket(self)
        self.sockets.append(made)
        return made


class FakeSocket(trio.socket.SocketType):
    type = socket.SOCK_STREAM
    did_shutdown_SHUT_WR = False  # noqa: N815  # Trio's name

    def __init__(self, network: Network) -> None:
        self._network = network
        self.peer = ""
        self.is_closed = False

    async def connect(self, address):
        self.peer = address[0]
        self._network.tried.append((self.peer, trio.current_time()))
        wait_s = self._network.after_s.get(self.peer)
        if wait_s is None:
            raise ConnectionRefusedError(111, "Connection refused")
        await trio.sleep(wait_s)

    def setsockopt(self, *_args):
        pass

    def close(self):
        self.is_closed = True


def use(names: Names, network: Network) -> None:
    trio.socket.set_custom_hostname_resolver(names)
    trio.socket.set_custom_socket_factory(network)


# What an address is ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3", "172.16.0.1", "192.168.1.1", "127.0.0.1", "127.9.9.9", "169.254.169.254", "100.64.0.1", "0.0.0.0",  # noqa: S104
        "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "::", "::1", "fe80::1", "fe80::1%2",
        "fc00::1", "fd12::1", "fec0::1", "ff02::1", "ff0e::1", "2001:db8::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1",
        "::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:a00:1::1", "64:ff9b:1::1",
    ],
)  # fmt: skip
def test_s13_no_exchange_lives_at_a_private_address(address):
    assert not may_lead_to("ws.kraken.com", address, ())
    assert may_lead_to("ws.kraken.com", address, {"ws.kraken.com"})


@pytest.mark.parametrize("address", [*PUBLIC, "8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"])
def test_s13_a_public_address_is_one_however_ipv6_wraps_it(address):
    assert may_lead_to("ws.kraken.com", address, ())


@given(st.ip_addresses())
def test_s13_no_address_is_public_that_the_standard_library_calls_special(address):
    if is_public(address) and address.version == 4:
        special = (address.is_private, address.is_loopback, address.is_link_local, address.is_multicast)
        assert not any((*special, address.is_unspecified, address.is_reserved))


def test_s13_this_machines_own_names_lead_to_this_machine_alone():
    assert may_lead_to("localhost", "127.0.0.1", ())
    assert may_lead_to("localhost", "::1", ())
    assert not may_lead_to("localhost", "10.0.0.1", ())
    assert not may_lead_to("localhost", PUBLIC[0], ())


# Where a connection goes ----------------------------------------------------------------------------------------


async def test_s13_a_name_that_leads_inside_is_refused_before_anything_is_tried(autojump_clock):
    network = Network(**{"10_0_0_7": 0.0})
    use(Names(("10.0.0.7", "::1")), network)
    with pytest.raises(AddressRefused, match=r"leads to 10\.0\.0\.7, ::1") as caught:
        await dial("ws.kraken.com", 443, ())
    assert network.sockets == []
    assert "allowed_hosts" in caught.value.detail
    assert isinstance(caught.value, Outage)  # waited for and tried again: DNS is mended while the connector runs
    assert isinstance(caught.value, ConfigError)  # and told as an error: a person must act
    stream = await dial("ws.kraken.com", 443, {"ws.kraken.com"})
    assert stream.socket.peer == "10.0.0.7"


async def test_s13_of_mixed_answers_only_the_public_ones_are_tried(autojump_clock):
    network = Network(**{"10_0_0_7": 0.0, "8_8_8_8": 0.1})
    use(Names(("10.0.0.7", "8.8.8.8")), network)
    assert (await dial("ws.kraken.com", 443, ())).socket.peer == "8.8.8.8"
    assert [address for address, _ in network.tried] == ["8.8.8.8"]


async def test_s13_a_second_answer_of_dns_changes_nothing(autojump_clock):
    names = Names(("8.8.8.8",), ("127.0.0.1",))
    network = Network(**{"8_8_8_8": 0.1, "127_0_0_1": 0.0})
    use(names, network)
    assert (await dial("ws.kraken.com", 443, ())).socket.peer == "8.8.8.8"
    assert names.asked == 1
    with pytest.raises(AddressRefused):
        await dial("ws.kraken.com", 443, ())


async def test_a_dead_address_costs_a_quarter_second(autojump_clock):
    network = Network(**{"8_8_8_8": 60.0, "9_9_9_9": 0.1})
    use(Names(("8.8.8.8", "9.9.9.9")), network)
    assert (await dial("ws.kraken.com", 443, ())).socket.peer == "9.9.9.9"
    assert trio.current_time() == pytest.approx(STAGGER_S + 0.1)
    assert [made.is_closed for made in network.sockets] == [True, False]


async def test_a_refused_address_costs_nothing(autojump_clock):
    network = Network(**{"9_9_9_9": 0.0})
    use(Names(("8.8.8.8", "9.9.9.9")), network)
    assert (await dial("ws.kraken.com", 443, ())).socket.peer == "9.9.9.9"
    assert trio.current_time() == pytest.approx(0)


async def test_when_no_address_answers_each_reason_is_told(autojump_clock):
    use(Names(("8.8.8.8", "9.9.9.9")), Network())
    with pytest.raises(OSError, match=r"^8\.8\.8\.8: .*refused; 9\.9\.9\.9: .*refused$"):
        await dial("ws.kraken.com", 443, ())


async def test_a_deadline_leaves_no_socket_open(autojump_clock):
    network = Network(**{"8_8_8_8": 60.0, "9_9_9_9": 60.0})
    use(Names(("8.8.8.8", "9.9.9.9")), network)
    with trio.move_on_after(10) as scope:
        await dial("ws.kraken.com", 443, ())
    assert scope.cancelled_caught
    assert [made.is_closed for made in network.sockets] == [True, True]
