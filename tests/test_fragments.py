"""Cutting and putting together: what goes out of one comes back from the other, and what condemns a packet.

Every sequence of fragments here was also sent to Linux 6.18, with the same outcome.
"""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.fragments import Mixed, Oversized, Reassembled, Reassembly, Refused, fragment
from netlab.names import DropReason
from netlab.packet import Packet

RESERVED = 0x8000
PATIENCE = 30.0


def piece(offset: int, length: int, mf: bool = True, *, id: int = 500, ttl: int = 64, df: bool = False) -> Packet:
    """A fragment of one UDP packet; what its bytes are depends on where they belong."""
    data = bytes(at % 251 for at in range(offset, offset + length))
    return Packet.ip("10.0.1.2", "10.0.1.1", 17, data, ip_id=id, ttl=ttl, df=df, mf=mf, frag_offset=offset)


def outcome(fragments: list[Packet]) -> list[str]:
    """What became of each fragment: kept, whole, or why it was not kept."""
    waiting = Reassembly()
    said = []
    for one in fragments:
        found = waiting.add(one, "eth0", 0.0, PATIENCE)
        if isinstance(found, Refused):
            said.append(str(found.reason))
        else:
            said.append({None: "kept", Reassembled: "whole", Oversized: "oversized"}[found and type(found)])
    return said


@pytest.mark.parametrize(
    ("codepoints", "whole"),
    [
        ((0, 0), 0), ((1, 1), 1), ((2, 2), 2), ((3, 3), 3),
        ((1, 2), 1), ((2, 1), 2),
        ((1, 3), 3), ((2, 3), 3), ((3, 1), 3), ((3, 2), 3), ((1, 2, 3), 3),
        ((0, 1), None), ((2, 0), None), ((0, 3), None), ((1, 0, 2), None),
    ],
)  # fmt: skip
def test_congestion_that_a_fragment_has_met_is_not_forgotten(codepoints: tuple[int, ...], whole: int | None) -> None:
    waiting = Reassembly()
    for number, codepoint in enumerate(codepoints):
        one = piece(16 * number, 16, mf=number < len(codepoints) - 1).with_(tos=0x40 | codepoint)
        found = waiting.add(one, "eth0", 0.0, PATIENCE)
    assert found == Mixed() if whole is None else isinstance(found, Reassembled) and found.packet.tos == 0x40 | whole
    assert len(waiting) == 0


# ---------------------------------------------------------------- cutting


@pytest.mark.parametrize(
    ("length", "mtu", "sizes"),
    [
        (1028, 1028, [1028]),
        (1028, 1500, [1028]),
        (1028, 600, [596, 452]),  # 576 bytes of payload each: a multiple of 8
        (1028, 1027, [1020, 28]),
        (100, 68, [68, 52]),
        (21, 68, [21]),
    ],
)
def test_the_sizes_of_fragments(length: int, mtu: int, sizes: list[int]) -> None:
    packet = Packet.ip("10.0.1.2", "10.0.2.2", 17, bytes(length - 20), ip_id=7)
    fragments = fragment(packet, mtu)
    assert [one.length for one in fragments] == sizes
    assert [one.mf for one in fragments] == [True] * (len(sizes) - 1) + [False]
    assert {one.ip_id for one in fragments} == {7}


def test_a_fragment_is_cut_again_with_offsets_of_its_own_and_more_to_follow() -> None:
    cut = fragment(piece(1480, 1000, mf=True), 600)
    assert [(one.frag_offset, one.mf, len(one.payload)) for one in cut] == [(1480, True, 576), (2056, True, 424)]
    last = fragment(piece(1480, 1000, mf=False), 600)
    assert [one.mf for one in last] == [True, False]


def test_the_reserved_bit_is_cleared_in_fragments_and_left_alone_in_whole_packets() -> None:
    packet = Packet.ip("1.1.1.1", "2.2.2.2", 17, bytes(1000))._replace(frag=RESERVED)
    assert fragment(packet, 1500) == [packet]
    assert all(not one.frag & RESERVED for one in fragment(packet, 600))


@pytest.mark.parametrize(
    ("options", "later"),
    [
        ("0707040a0a0a0a00", "0101010101010100"),  # record route: only in the first; end of options stays
        ("94040000", "94040000"),  # router alert has the copied bit
        ("0194040000010101", "0194040000010101"),
        ("07030494040000" + "00", "01010194040000" + "00"),
        ("0700000000000000", "0700000000000000"),  # a length of 0: nothing behind it can be told apart
        ("07ff0000", "07ff0000"),  # longer than the header
        ("07", "07"),
    ],
)
def test_options_that_are_not_to_be_copied_become_no_operations(options: str, later: str) -> None:
    packet = Packet.ip("1.1.1.1", "2.2.2.2", 17, bytes(1000))._replace(options=bytes.fromhex(options))
    first, *rest = fragment(packet, 600)
    assert first.options.hex() == options
    assert {one.options.hex() for one in rest} == {later}


def test_what_was_put_together_is_cut_again_as_it_was() -> None:
    packet = Packet.ip("1.1.1.1", "2.2.2.2", 17, bytes(1000))
    assert [one.length for one in fragment(packet, 1500, (420, 620))] == [420, 620]
    assert [one.length for one in fragment(packet, 500, (420, 620))] == [500, 500, 60]


# ---------------------------------------------------------------- and back


@given(
    st.binary(min_size=1, max_size=3000),
    st.integers(68, 1500),
    st.sampled_from([b"", b"\x94\x04\0\0"]),
    st.randoms(use_true_random=False),
)
def test_fragments_put_together_in_any_order_are_the_packet(
    data: bytes, mtu: int, options: bytes, order: Random
) -> None:
    packet = Packet.ip("10.0.1.2", "10.0.2.2", 17, data, ip_id=9, options=options)
    fragments = fragment(packet, mtu)
    assert all(one.length <= mtu for one in fragments)
    sizes = tuple(one.length for one in fragments)
    if len(fragments) == 1:
        assert fragments == [packet]
        return
    order.shuffle(fragments)
    waiting = Reassembly()
    *kept, found = [waiting.add(one, "eth0", 0.0, PATIENCE) for one in fragments]
    assert kept == [None] * len(kept)
    assert found == Reassembled(packet, sizes)
    assert len(waiting) == 0


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3), st.booleans()), max_size=8))
def test_whatever_comes_a_whole_packet_has_the_right_bytes(places: list[tuple[int, int, bool]]) -> None:
    waiting = Reassembly()
    for offset, length, mf in places:
        found = waiting.add(piece(offset * 8, length * 8, mf), "eth0", 0.0, PATIENCE)
        if isinstance(found, Reassembled):
            assert not found.packet.is_fragment
            assert found.packet.payload == bytes(at % 251 for at in range(len(found.packet.payload)))
            assert sum(found.pieces) == len(found.packet.payload) + 20 * len(found.pieces)
    assert len(waiting) <= 1


@pytest.mark.parametrize(
    ("fragments", "expected"),
    [
        ([piece(0, 16), piece(16, 16, False)], ["kept", "whole"]),
        ([piece(0, 16), piece(0, 16), piece(16, 16, False)], ["kept", "DUP_FRAG", "whole"]),
        ([piece(0, 32), piece(8, 8), piece(32, 8, False)], ["kept", "DUP_FRAG", "whole"]),
        ([piece(0, 16), piece(16, 16), piece(8, 16), piece(32, 8, False)], ["kept", "kept", "DUP_FRAG", "whole"]),
        ([piece(16, 8, False), piece(16, 8, False), piece(0, 16)], ["kept", "DUP_FRAG", "whole"]),
        ([piece(16, 8, False), piece(16, 8, True), piece(0, 16)], ["kept", "DUP_FRAG", "whole"]),
        ([piece(0, 16), piece(0, 24), piece(16, 16, False)], ["kept", "NOT_SPECIFIED", "kept"]),
        ([piece(0, 16), piece(8, 16), piece(24, 8, False)], ["kept", "NOT_SPECIFIED", "kept"]),
        ([piece(0, 16), piece(32, 16), piece(8, 32)], ["kept", "kept", "NOT_SPECIFIED"]),
        ([piece(8, 8), piece(0, 32), piece(32, 8, False)], ["kept", "NOT_SPECIFIED", "kept"]),
        ([piece(16, 8, False), piece(8, 8, False)], ["kept", "NOT_SPECIFIED"]),
        ([piece(16, 8, False), piece(24, 8, False)], ["kept", "NOT_SPECIFIED"]),
        ([piece(16, 8, False), piece(24, 8)], ["kept", "NOT_SPECIFIED"]),
        ([piece(16, 16), piece(8, 8, False)], ["kept", "NOT_SPECIFIED"]),
        ([piece(0, 0), piece(0, 16)], ["NOT_SPECIFIED", "kept"]),
        ([piece(0, 16), piece(16, 0, False)], ["kept", "NOT_SPECIFIED"]),
        ([piece(0, 7), piece(0, 16)], ["NOT_SPECIFIED", "kept"]),  # cut to a multiple of 8: nothing is left
        ([piece(0, 23), piece(16, 8, False)], ["kept", "whole"]),
        ([piece(0, 16, id=1), piece(16, 8, False, id=2)], ["kept", "kept"]),
    ],
    ids=[
        "in order", "twice", "within", "within two", "last twice", "last with MF", "longer first", "overlap",
        "overlap on both sides", "covers more", "shorter last", "longer last", "behind the last", "last before data",
        "empty", "empty last", "seven bytes", "not a multiple of 8", "other id",
    ],
)  # fmt: skip
def test_what_becomes_of_each_fragment(fragments: list[Packet], expected: list[str]) -> None:
    assert outcome(fragments) == expected


@pytest.mark.parametrize(
    "other",
    [
        piece(16, 8, False)._replace(saddr=1),
        piece(16, 8, False)._replace(daddr=1),
        piece(16, 8, False)._replace(ip_id=1),
        piece(16, 8, False)._replace(proto=6),
    ],
    ids=["source", "destination", "id", "protocol"],
)
def test_fragments_belong_together_by_four_fields(other: Packet) -> None:
    assert outcome([piece(0, 16), other]) == ["kept", "kept"]
    assert outcome([piece(0, 16), piece(16, 8, False)]) == ["kept", "whole"]


def test_an_overlap_condemns_what_was_kept_before() -> None:
    waiting = Reassembly()
    waiting.add(piece(0, 16), "eth0", 0.0, PATIENCE)
    found = waiting.add(piece(8, 16), "eth0", 0.0, PATIENCE)
    assert isinstance(found, Refused)
    assert (found.reason, found.others, len(waiting)) == (DropReason.NOT_SPECIFIED, 1, 0)


def test_the_whole_has_the_header_of_the_first_fragment() -> None:
    waiting = Reassembly()
    waiting.add(piece(16, 8, False, ttl=9), "eth0", 0.0, PATIENCE)
    found = waiting.add(piece(0, 16, ttl=3), "eth0", 0.0, PATIENCE)
    assert isinstance(found, Reassembled)
    assert (found.packet.ttl, found.packet.ip_id, found.packet.frag, found.pieces) == (3, 500, 0, (36, 28))


@pytest.mark.parametrize(
    ("first", "second", "df"),
    [
        (piece(0, 16, df=True), piece(16, 8, False, df=True), True),
        (piece(0, 16, df=True), piece(16, 8, False), True),  # the largest fragment had it
        (piece(0, 16), piece(16, 8, False, df=True), False),
        (piece(0, 16), piece(16, 8, False), False),
    ],
    ids=["both", "the largest", "the smaller", "none"],
)
def test_df_of_the_whole(first: Packet, second: Packet, df: bool) -> None:
    waiting = Reassembly()
    waiting.add(first, "eth0", 0.0, PATIENCE)
    found = waiting.add(second, "eth0", 0.0, PATIENCE)
    assert isinstance(found, Reassembled)
    assert found.packet.df is df


@pytest.mark.parametrize(("last", "end"), [(8171, "whole"), (8172, "oversized")])
def test_no_packet_is_longer_than_65535_bytes(last: int, end: str) -> None:
    fragments = [piece(at * 8192, 8192) for at in range(7)] + [piece(57344, last, False)]
    assert outcome(fragments) == ["kept"] * 7 + [end]


# ---------------------------------------------------------------- time


def test_what_has_waited_too_long_is_given_up() -> None:
    waiting = Reassembly()
    waiting.add(piece(0, 16, id=1), "eth0", 0.0, PATIENCE)
    waiting.add(piece(16, 8, id=1), "eth1", 20.0, PATIENCE)  # the first to come sets the time
    waiting.add(piece(16, 8, id=2), "eth0", 20.0, PATIENCE)
    assert waiting.expire(29.9) == []
    (gone,) = waiting.expire(30.0)
    assert (gone.first, gone.dev, gone.fragments) == (piece(0, 16, id=1), "eth1", 2)
    assert len(waiting) == 1
    (gone,) = waiting.expire(50.0)
    assert (gone.first, gone.fragments) == (None, 1)
    assert len(waiting) == 0
