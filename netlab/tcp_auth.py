"""Segments that are signed, by the options MD5 (RFC 2385) or AO (RFC 5925): no host here has a key.

The kernel looks for a signature before it looks at anything else in a segment for a socket, and again before it sends
a reset, which it would have to sign as well. Source: net/ipv4/tcp_ipv4.c (tcp_inbound_hash, tcp_v4_send_reset), and
what a kernel without CONFIG_TCP_AO answered.
"""

from enum import Enum, auto
from typing import Final

from netlab.names import DropReason

END, NOTHING, MD5, AO = 0, 1, 19, 29  # kinds of options
MD5_LENGTH: Final = 18
AO_HEADER: Final = 4  # bytes, behind which the signature begins


class Signature(Enum):
    """What the options of a segment say of its signature."""

    NONE = auto()
    MD5 = auto()
    AO = auto()
    BROKEN = auto()


def signature_of(options: bytes) -> Signature:
    """Looks through a segment's options, up to where no room is left for an MD5: what is wrong behind is not seen."""
    found, at = Signature.NONE, 0
    while len(options) - at >= MD5_LENGTH and options[at] != END:
        if options[at] == NOTHING:
            at += 1
            continue
        kind, length = options[at : at + 2]
        if not 2 <= length <= len(options) - at:
            return Signature.BROKEN
        if kind in (MD5, AO):
            fits = length == MD5_LENGTH if kind == MD5 else length > AO_HEADER
            if found is not Signature.NONE or not fits:
                return Signature.BROKEN
            found = Signature.MD5 if kind == MD5 else Signature.AO
        at += length
    return found


def refusal(options: bytes, *, half_open: bool) -> tuple[DropReason, str] | None:
    """Why a socket does not take the segment; None if it does. `half_open`: it answers a SYN-ACK, which was not signed.

    Else an AO is like any unknown option to a kernel that was not built for it.
    """
    match signature_of(options):
        case Signature.MD5:
            return DropReason.TCP_MD5UNEXPECTED, "it is signed with MD5, and this host has no key"
        case Signature.BROKEN:
            return DropReason.TCP_AUTH_HDR, "its options are broken, or two of them are signatures"
        case Signature.AO if half_open:
            return DropReason.TCP_AOFAILURE, "it is signed with AO, and the handshake has begun without"
    return None
