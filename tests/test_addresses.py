"""Addresses and prefixes: text and integers, both ways."""

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.addresses import InterfaceAddress, Prefix, format_address, mask_of, parse_address
from netlab.names import NetlabError

ADDRESSES = st.integers(0, 2**32 - 1)
LENGTHS = st.integers(0, 32)


@given(ADDRESSES)
def test_an_address_reads_back_and_agrees_with_the_standard_library(address: int) -> None:
    text = format_address(address)
    assert text == str(IPv4Address(address))
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.-4", "01.2.3.4", "1.2.3.4 ", "a.b.c.d", "1.2.3.²", "1.2.3.٤",
     "1.2.3.4/24", "::1", "1..2.3", "0x1.2.3.4", "1.2.3." + "9" * 5000],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_what_is_no_address_is_refused_by_its_text(text: str) -> None:
    with pytest.raises(NetlabError) as refused:
        parse_address(text)
    assert str(refused.value) == f"{text!r} is not an IPv4 address"


@given(st.text())
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = parse_address(text)
    except NetlabError:
        return
    assert format_address(address) == text


@given(ADDRESSES, LENGTHS)
def test_prefixes_agree_with_the_standard_library(address: int, length: int) -> None:
    network = IPv4Network((address, length), strict=False)
    prefix = InterfaceAddress(address, length).network
    assert prefix.address == int(network.network_address)
    assert prefix.mask == mask_of(length) == int(network.netmask)
    assert prefix.last == int(network.broadcast_address)
    assert address in prefix
    assert Prefix.parse(str(network)) == prefix
    assert Prefix.parse(f"{network.network_address}/{network.netmask}") == prefix
    assert Prefix.parse(str(prefix)) == prefix


@given(ADDRESSES, ADDRESSES, LENGTHS)
def test_an_address_is_in_a_prefix_when_the_first_bits_agree(one: int, other: int, length: int) -> None:
    inside = one in InterfaceAddress(other, length).network
    assert inside == (one >> 32 - length == other >> 32 - length)


@pytest.mark.parametrize(
    ("text", "printed"),
    [("default", "default"), ("0.0.0.0/0", "default"), ("10.1.2.3", "10.1.2.3"), ("10.1.2.3/32", "10.1.2.3"),
     ("10.0.0.0/255.0.0.0", "10.0.0.0/8")],
)  # fmt: skip
def test_prefixes_print_as_ip_route_prints_them(text: str, printed: str) -> None:
    assert str(Prefix.parse(text)) == printed


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("10.0.0.1/24", "address bits are set behind the /24"),
        ("10.0.0.0/33", "'33' is neither a prefix length from 0 to 32 nor a netmask"),
        ("10.0.0.0/-1", "'-1' is neither"),
        ("10.0.0.0/", "'' is neither"),
        ("10.0.0.0/255.0.255.0", "'255.0.255.0' is neither"),
        ("10.0.0.0/0.0.0.255", "'0.0.0.255' is neither"),
        ("10.0.0.0/٨", "is neither"),
        ("10.0.0.0/" + "9" * 5000, "is neither"),
        ("10.0.0/24", "'10.0.0' is not an IPv4 address"),
    ],
    ids=lambda text: text[:24],
)
def test_what_is_no_prefix_is_refused(text: str, problem: str) -> None:
    with pytest.raises(NetlabError) as refused:
        Prefix.parse(text)
    assert problem in str(refused.value)


def test_nothing_but_an_address_is_in_a_prefix() -> None:
    assert "10.0.0.1" not in Prefix.parse("10.0.0.0/8")


@pytest.mark.parametrize("text", ["10.0.0.1/24", "10.0.0.1/32", "0.0.0.0/0"])
def test_interface_addresses_read_back(text: str) -> None:
    assert str(InterfaceAddress.parse(text)) == text


def test_an_interface_address_without_a_length_stands_alone() -> None:
    assert str(InterfaceAddress.parse("10.0.0.1")) == "10.0.0.1/32"
