"""Which addresses are global, and which ones a connect reaches; against `ipaddress` and against integers."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeconnect import is_global_address
from safeconnect._connect import address_filter
from safeconnect._connect.address_filter import reached_at

EDGES_4 = [
    number + step
    for network in (*address_filter._NOT_GLOBAL_4, IPv4Network("192.31.196.0/24"), IPv4Network("192.0.0.9/32"))
    for number in (int(network[0]), int(network[-1]))
    for step in (-1, 0, 1)
    if 0 <= number + step < 2**32
]
EDGES_6 = [
    number + step
    for network in (*address_filter._NOT_GLOBAL_6, *map(IPv6Network, ("2000::/3", "64:ff9b::/96", "2620:4f:8000::/48")))
    for number in (int(network[0]), int(network[-1]))
    for step in (-1, 0, 1)
]
ipv4 = st.one_of(st.ip_addresses(v=4), st.sampled_from(EDGES_4).map(IPv4Address))
ipv6 = st.one_of(
    st.ip_addresses(v=6),
    st.sampled_from(EDGES_6).map(IPv6Address),
    st.integers(2**125, 2**126 - 1).map(IPv6Address),
)
STRICTER = [IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"), IPv4Network("224.0.0.0/4")]


@given(ipv4)
def test_ipv4_is_as_ipaddress_has_it_but_for_what_is_stricter(address):
    expected = address.is_global and not any(address in network for network in STRICTER)
    assert is_global_address(address) == expected


@given(ipv6)
def test_ipv6_is_as_the_bits_have_it(address):
    bits = int(address)
    if bits >> 32 in (0x0064_FF9B << 64, 0xFFFF):  # NAT64, IPv4-mapped
        assert is_global_address(address) == is_global_address(IPv4Address(bits & 0xFFFFFFFF))
        return
    first, second = bits >> 112, bits >> 96 & 0xFFFF
    special = (first == 0x2001 and (second < 0x0200 or second == 0x0DB8)) or first == 0x2002 or bits >> 108 == 0x3FFF0
    assert is_global_address(address) == (bits >> 125 == 1 and not special)
    if is_global_address(address):
        assert address.is_global  # in every version of Python


@given(ipv4)
def test_an_ipv4_address_within(address):
    expected = is_global_address(address)
    assert is_global_address(IPv6Address(f"::ffff:{address}")) == expected
    assert is_global_address(IPv6Address(f"64:ff9b::{address}")) == expected
    assert not is_global_address(IPv6Address(f"64:ff9b:1::{address}"))
    assert not is_global_address(IPv6Address(f"::{address}"))
    for prefix, place in ((0x2002 << 112, 80), (0x20010000 << 96, 64)):  # 6to4, Teredo
        assert not is_global_address(IPv6Address(prefix | int(address) << place))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("169.254.169.254", False),  # the metadata of clouds
        ("fd00:ec2::254", False),
        ("100.100.100.200", False),
        ("1.1.1.1", True),
        ("2606:4700:4700::1111", True),
        ("fe80::1%eth0", False),
        ("2606:4700:4700::1111%eth0", True),
        ("ff0e::1", False),
        ("fec0::1", False),
        ("5f00::1", False),
    ],
)
def test_some_addresses(text, expected):
    assert is_global_address(ip_address(text)) is expected


@pytest.mark.parametrize("value", ["8.8.8.8", b"\x08\x08\x08\x08", 8, None, IPv4Network("8.8.8.8")])
def test_what_is_no_address(value):
    with pytest.raises(TypeError, match=f"address must be an IPv4Address or IPv6Address, not {type(value).__name__}"):
        is_global_address(value)


@given(ipv4, ipv6)
def test_what_is_reached(four, six):
    assert reached_at(f"::ffff:{four}") == reached_at(str(four))
    assert reached_at(f"{six}%2") == reached_at(str(six))
    for address in (four, six):
        if not address.is_unspecified and getattr(address, "ipv4_mapped", None) is None:
            assert reached_at(str(address)) == [address]
    assert reached_at("0.0.0.0") == reached_at("::ffff:0.0.0.0") == [IPv4Address(0), IPv4Address("127.0.0.1")]
    assert reached_at("::") == [IPv6Address(0), IPv6Address(1)]
