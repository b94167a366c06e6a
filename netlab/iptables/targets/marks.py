"""Marks: of the packet (`MARK`, fwmark) and of its flow (`CONNMARK`). Sources: xt_mark.c, xt_connmark.c."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from netlab.conntrack.entry import Entry
from netlab.hooks import HookState
from netlab.iptables.extension import Action, Rules, Target, target
from netlab.iptables.option import Kind, Option, c_number, number
from netlab.names import NetlabError
from netlab.packet import Packet

ALL: Final = 0xFFFFFFFF


class Xmark(NamedTuple):
    """How a mark is changed: the bits of `mask` are cleared, then those of `value` turned over."""

    value: int
    mask: int = ALL

    def of(self, mark: int) -> int:
        """What becomes of that mark."""
        return mark & ~self.mask ^ self.value

    def __str__(self) -> str:
        return f"{self.value:#x}/{self.mask:#x}"

    def listed(self) -> str:
        """In the words of `iptables -L`."""
        value, mask = self
        if not value:
            return f"and {~mask & ALL:#x}"
        if value == mask:
            return f"or {value:#x}"
        if not mask:
            return f"xor {value:#x}"
        return f"set {value:#x}" if mask == ALL else f"xset {self}"


def _value_and_mask(text: str) -> Xmark:
    value, slash, mask = text.partition("/")
    numbers = c_number(value), c_number(mask) if slash else ALL
    if None in numbers or not all(0 <= one <= ALL for one in numbers if one is not None):
        raise NetlabError(f"bad integer value {text!r}, or out of range (0-{ALL}, with a mask behind a / if need be)")
    return Xmark(numbers[0] or 0, numbers[1] or 0)


def _derived(of: Callable[[int], Xmark]) -> Kind[Xmark]:
    one = number(32)
    return Kind(lambda text: of(one.parse(text)))


def _set(text: str) -> Xmark:
    """`--set-mark` clears the bits that it sets, be they in the mask or not."""
    value, mask = _value_and_mask(text)
    return Xmark(value, value | mask)


XMARK: Final = Kind(_value_and_mask)
OPERATIONS: Final = (
    Option(("--set-xmark",), "mark", (XMARK,)),
    Option(("--set-mark",), "mark", (Kind(_set),)),
    Option(("--and-mark",), "mark", (_derived(lambda bits: Xmark(0, ~bits & ALL)),)),
    Option(("--or-mark",), "mark", (_derived(lambda bits: Xmark(bits, bits)),)),
    Option(("--xor-mark",), "mark", (_derived(lambda bits: Xmark(bits, 0)),)),
)
MASK: Final = number(32, format=hex)
SHIFT: Final = number(5)
SAVE, RESTORE = "save", "restore"


@target
@dataclass(frozen=True)
class Mark(Target):
    """`-j MARK --set-mark 1`: write on the packet a number that no wire carries; `ip rule` and later rules can ask."""

    name = "MARK"
    options = OPERATIONS

    mark: Xmark | None = None

    def completed(self) -> None:
        """There must be something to do.

        Raises:
            NetlabError: there is not.
        """
        if self.mark is None:
            raise NetlabError("MARK: One of the --set-xmark, --{and,or,xor,set}-mark options is required")

    def listed(self, numeric: bool = True) -> str:
        """In the words of `iptables -L`."""
        return f"MARK {self.mark.listed()}" if self.mark else "MARK"

    def bind(self, rules: Rules) -> Action:
        """Write it, and go on."""
        change = self.mark or Xmark(0, 0)
        return lambda packet, state: packet._replace(mark=change.of(packet.mark))


@target
@dataclass(frozen=True, eq=False)
class Connmark(Target):
    """`-j CONNMARK --save-mark`, `--restore-mark`, `--set-mark 1`: carry marks from packet to flow and back.

    Of what is saved and restored `nfmask` says which bits of the packet's mark count, `ctmask` which of the flow's;
    then they may be shifted. Packets without a flow are left alone.
    """

    name = "CONNMARK"
    options = (
        *(replace(option, field="does") for option in OPERATIONS),
        Option(("--save-mark",), "does", value=SAVE),
        Option(("--restore-mark",), "does", value=RESTORE),
        Option(("--mask",), "mask", (MASK,)),
        Option(("--nfmask",), "nfmask", (MASK,)),
        Option(("--ctmask",), "ctmask", (MASK,)),
        Option(("--left-shift-mark",), "left", (SHIFT,)),
        Option(("--right-shift-mark",), "right", (SHIFT,)),
    )

    does: Xmark | str | None = None
    mask: int | None = None
    nfmask: int | None = None
    ctmask: int | None = None
    left: int | None = None
    right: int | None = None

    @property
    def needs_conntrack(self) -> bool:
        """It writes on flows, so there must be some."""
        return True

    def completed(self) -> None:
        """One thing to do, and one mask or two.

        Raises:
            NetlabError: nothing to do, or masks at odds.
        """
        if self.does is None:
            raise NetlabError("CONNMARK target: No operation specified")
        for name, other in (("--nfmask", self.nfmask), ("--ctmask", self.ctmask)):
            if self.mask is not None and other is not None:
                raise NetlabError(f'CONNMARK: option "{name}" cannot be used together with "--mask"')

    def _masks(self) -> tuple[int, int]:
        """The bits that count of the packet's mark, and of the flow's."""
        both = ALL if self.mask is None else self.mask
        return both if self.nfmask is None else self.nfmask, both if self.ctmask is None else self.ctmask

    def _change(self, change: Xmark) -> Xmark:
        """What `--set-xmark` writes: a mask given apart takes the place of its own."""
        apart = self.ctmask if self.mask is None else self.mask
        return change if apart is None else Xmark(change.value, apart)

    def _shifted(self, mark: int) -> int:
        if self.right:  # of two shifts given it is the one that iptables keeps
            return mark >> self.right
        return mark << (self.left or 0) & ALL

    def bind(self, rules: Rules) -> Action:
        """Move the marks, and go on."""
        nfmask, ctmask = self._masks()
        tracker, does = rules.tracker(), self.does

        def write(entry: Entry, mark: int) -> None:
            if entry.mark != mark:
                tracker.set_mark(entry, mark, self.name)

        def act(packet: Packet, state: HookState) -> Packet | None:
            entry = state.skb.ct
            if entry is None:
                return None
            if does == RESTORE:
                return packet._replace(mark=packet.mark & ~nfmask ^ self._shifted(entry.mark & ctmask))
            if isinstance(does, Xmark):
                write(entry, self._shifted(self._change(does).of(entry.mark)))
            else:
                write(entry, entry.mark & ~ctmask ^ self._shifted(packet.mark & nfmask))
            return None

        return act

    def words(self) -> Iterator[str]:
        """Both masks are always told."""
        if isinstance(self.does, Xmark):
            yield from ("--set-xmark", str(self._change(self.does)))
        else:
            nfmask, ctmask = self._masks()
            yield from (f"--{self.does}-mark", "--nfmask", hex(nfmask), "--ctmask", hex(ctmask))
        yield from self._shift_words()

    def _shift_words(self) -> Iterator[str]:
        if self.right:
            yield from ("--right-shift-mark", str(self.right))
        elif self.left:
            yield from ("--left-shift-mark", str(self.left))

    def listed(self, numeric: bool = True) -> str:
        """In the words of `iptables -L`: of two masks the one that takes bits away has a ~ before it."""
        nfmask, ctmask = self._masks()
        if isinstance(self.does, Xmark):
            text = self._change(self.does).listed()
        elif nfmask == ctmask:
            text = f"{self.does}{'' if nfmask == ALL else f' mask {nfmask:#x}'}"
        elif self.does == SAVE:
            text = f"save nfmask {nfmask:#x} ctmask ~{ctmask:#x}"
        else:
            text = f"restore ctmask {ctmask:#x} nfmask ~{nfmask:#x}"
        return " ".join(["CONNMARK", text, *(word.removeprefix("--") for word in self._shift_words())])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Connmark) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))
