"""One command line of iptables: what it asks for, and the rules that it names.

The command line and the lines of iptables-restore are read alike, as getopt_long(3) reads them: long options may be
shortened while they stay unique, and what may follow depends on what stands before: `-m NAME` and `-j NAME` bring
their own options along, and the first unknown option behind `-p NAME` loads the match of that protocol.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Final

from netlab.iptables import matches as _matches
from netlab.iptables import targets as _targets
from netlab.iptables.base import Base
from netlab.iptables.call import COMMANDS, FLAGS, LETTERS, LISTS, NAMES, START, WITH_CHAIN, WITH_NUMBER, WITH_RULE, Call
from netlab.iptables.catalogue import UNSUPPORTED_MATCHES, UNSUPPORTED_OPTIONS, UNSUPPORTED_TARGETS
from netlab.iptables.extension import MATCHES, TARGETS, Match, Target
from netlab.iptables.loaded import Loaded
from netlab.iptables.model import LONGEST_CHAIN, Counters, Jump, Rule
from netlab.iptables.option import Is, Masked, Option, c_number, protocol_of
from netlab.iptables.words import Place, RuleError, Word
from netlab.names import NetlabError

_KNOWN = _matches, _targets  # importing them has made all extensions known

_BASE: Final = {spelling: option for option in Base.options for spelling in option.names}
_ANY: Final = {"proto": Is(0), "dev_in": Is("+"), "dev_out": Is("+")}  # asks nothing, and is not kept

_MOST_RULES: Final = 65_536  # of one line


def parse(words: Sequence[Word]) -> Call:
    """Read a command line, without the word `iptables` in front.

    Raises:
        RuleError: what iptables would refuse before it asks the kernel, with the place of the word.
    """
    return _Reader(words).read()


class _Reader:
    """Reads the words of one command line from left to right."""

    def __init__(self, words: Sequence[Word]) -> None:
        self.words = words
        self.at = 0
        self.call = Call()
        self.base = Loaded(Base, START)
        self.slots: list[Loaded] = []
        self.target: Loaded | Jump | None = None
        self.counters: Counters | None = None
        self.given: dict[str, Place] = {}
        self.protocol_loaded = False

    # ---------------------------------------------------------------- the words one by one

    def read(self) -> Call:
        negation: Word | None = None
        if self.words:
            self.call.place = self.words[0].place
        while self.at < len(self.words):
            word = self.words[self.at]
            text = word.text
            self.at += 1
            if text == "!":
                if negation:
                    raise RuleError("multiple consecutive ! not allowed", word.place)
                negation = word
                continue
            if text == "--" and self.at < len(self.words):
                raise RuleError("unknown arguments found on commandline", self.words[self.at].place)
            if text == "--":
                break
            if not text.startswith("-") or text == "-":
                raise RuleError(f"Bad argument `{text}'", word.place)
            self._option(word, negation)
            negation = None
            if self.call.ended:
                break
        if negation:
            raise RuleError("nothing appropriate following !", negation.place)
        return self._complete()

    def _option(self, word: Word, negation: Word | None) -> None:
        text = word.text
        if text in _BASE:
            self._base(text, _BASE[text], word, None, negation)
        elif text in NAMES:
            self._own(NAMES[text], text, word, None, negation)
        elif text.startswith("--"):
            self._long(word, negation)
        else:
            self._short(word, negation)

    def _short(self, word: Word, negation: Word | None) -> None:
        """Several letters behind one `-`, of which the last may have its value attached: `-nvL`, `-AINPUT`."""
        letters = word.text[1:]
        for position, letter in enumerate(letters):
            name, attached = f"-{letter}", letters[position + 1 :]
            place = Place(word.line, word.column + position)
            if name in NAMES and NAMES[name] in FLAGS:
                self._own(NAMES[name], name, word, None, negation)
                continue
            if name == "-f":
                self._base(name, _BASE[name], word, None, negation)
                continue
            if name not in NAMES and name not in _BASE:
                raise RuleError(f'unknown option "{word.text}"', word.place)
            if attached and (name in _BASE or name == "-j"):
                raise _no_blank(word.text, place)
            value = Word(attached, *place) if attached else None
            if name in _BASE:
                self._base(name, _BASE[name], word, value, negation)
            else:
                self._own(NAMES[name], name, word, value, negation)
            return

    def _long(self, word: Word, negation: Word | None) -> None:
        name, equals, rest = word.text.partition("=")
        value = Word(rest, word.line, word.column + len(name) + 1, word.quoted) if equals else None
        found = self._find(name)
        if found is None:
            found = self._find_in_protocol(name)
        if found is None:
            raise self._unknown(word, name)
        slot, option = found
        if isinstance(option, str):
            if value and option in FLAGS:
                raise RuleError(f'unknown option "{word.text}"', word.place)
            if value and option == "jump":
                raise _no_blank(word.text, word.place)
            self._own(option, word.text, word, value, negation)
        elif slot is None:
            if value:
                raise _no_blank(word.text, word.place)
            self._base(word.text, option, word, None, negation)
        elif value and not option.kinds:
            raise RuleError(f'unknown option "{word.text}"', word.place)
        else:
            self._extension(slot, option, word, value, negation)

    def _find(self, name: str) -> tuple[Loaded | None, Option | str] | None:
        """The option of that name, or of the only one that begins so; of two the one that was loaded last."""
        if name in _BASE:
            return None, _BASE[name]
        if name in NAMES:
            return None, NAMES[name]
        slots = [self.target, *reversed(self.slots)] if isinstance(self.target, Loaded) else self.slots[::-1]
        for slot in slots:
            if name in slot.options:
                return slot, slot.options[name]
        found: list[tuple[Loaded | None, Option | str]] = [
            (None, what) for names in (_BASE, NAMES) for full, what in names.items() if full.startswith(name)
        ]
        for slot in slots:
            found += [(slot, option) for full, option in slot.options.items() if full.startswith(name)]
        different = {(id(slot), option if isinstance(option, str) else id(option)) for slot, option in found}
        return found[0] if len(different) == 1 else None

    def _find_in_protocol(self, name: str) -> tuple[Loaded | None, Option | str] | None:
        """What the match of the protocol behind -p knows by that name: it is loaded now, if it is not yet there."""
        proto: Is[int] | None = self.base.values.get("proto")
        if proto is None or self.protocol_loaded:
            return None
        match = protocol_of(proto.value)
        if match in UNSUPPORTED_MATCHES:
            raise _unsupported("match", match, self.given["proto"])
        if match not in MATCHES or any(slot.cls is MATCHES[match] for slot in self.slots):
            return None
        self.protocol_loaded = True
        self.slots.append(Loaded(MATCHES[match], self.given["proto"]))
        return self._find(name)

    def _unknown(self, word: Word, name: str) -> RuleError:
        if name in UNSUPPORTED_OPTIONS:
            return _unsupported("option", name, word.place)
        return RuleError(f'unknown option "{word.text}"', word.place)

    def _value(self, option: Word, attached: Word | None) -> Word:
        """The word behind an option, whatever it is."""
        if attached is not None:
            return attached
        if self.at >= len(self.words):
            raise RuleError(f'option "{option.text}" requires an argument', option.place)
        self.at += 1
        return self.words[self.at - 1]

    def _optional(self) -> Word | None:
        """The next word, if it is no option."""
        if self.at >= len(self.words) or self.words[self.at].text[:1] in ("-", "!"):
            return None
        self.at += 1
        return self.words[self.at - 1]

    # ---------------------------------------------------------------- what asks something of a packet

    def _base(self, name: str, option: Option, word: Word, attached: Word | None, negation: Word | None) -> None:
        field = option.field
        self._once(field, word)
        if not option.kinds:
            self.base.values[field] = Is(option.value, negation is not None)
            return
        value = self._value(word, attached)
        try:
            if field in ("source", "destination"):
                addresses = map(str.lstrip, value.text.split(","))
                values = tuple(Is(option.kinds[0].parse(one), negation is not None) for one in addresses)
                if negation and len(values) > 1:
                    raise NetlabError("! not allowed with multiple source or destination IP addresses")
                self.base.values[field] = values
                return
            said = Is(option.kinds[0].parse(value.text), negation is not None)
        except NetlabError as problem:
            raise RuleError(str(problem), value.place) from None
        if field == "proto" and said == Is(0, True):
            raise RuleError("rule would never match protocol", value.place)
        if said != _ANY.get(field):
            self.base.values[field] = said

    def _once(self, name: str, word: Word) -> None:
        if name in self.given:
            raise RuleError(f"multiple -{LETTERS.get(name, name)} flags not allowed", word.place)
        self.given[name] = word.place

    def _extension(
        self, slot: Loaded, option: Option, word: Word, attached: Word | None, negation: Word | None
    ) -> None:
        slot.begin(option, word.place, negation.place if negation else None)
        values = []
        for number, kind in enumerate(option.kinds):
            if number and self.at >= len(self.words):
                raise RuleError(f"{option.names[0]} requires {len(option.kinds)} args.", word.place)
            value = self._value(word, None if number else attached)
            try:
                values.append(kind.parse(value.text))
            except NetlabError as problem:
                raise RuleError(str(problem), value.place) from None
        slot.say(option, values, negation is not None)

    # ---------------------------------------------------------------- everything else

    def _own(self, name: str, spelling: str, word: Word, attached: Word | None, negation: Word | None) -> None:
        if negation:
            if name in COMMANDS:
                raise RuleError("unexpected '!' flag", negation.place)
            if name in ("match", "table"):
                raise RuleError(f"unexpected ! flag before --{name}", negation.place)
            raise RuleError(f"cannot have ! before {spelling}", negation.place)
        if name in COMMANDS:
            self._command(name, word, attached)
        elif name in FLAGS:
            self.call.flags.add(name)
            self.given.setdefault(name, word.place)
        elif name == "match":
            self._match(self._value(word, attached))
        elif name in ("jump", "goto"):
            self._once("jump", word)
            self._target(self._value(word, attached), goto=name == "goto")
        elif name == "table":
            self.call.table = self._value(word, attached).text
            self.given["table"] = word.place
        elif name == "set-counters":
            self._once(name, word)
            self._counters(self._value(word, attached))
        elif name == "wait":
            self.call.flags.add(name)
            if attached is None:
                self._optional()
        elif name == "wait-interval":
            self.call.flags.add(name)
            value = attached or self._optional()
            if value is None or c_number(value.text) is None:
                raise RuleError(f"wait interval {'not numeric' if value else 'value required'}", word.place)
        else:
            self._value(word, attached)

    def _match(self, word: Word) -> None:
        if word.text in MATCHES:
            self.slots.append(Loaded(MATCHES[word.text], word.place))
            return
        if word.text in UNSUPPORTED_MATCHES:
            raise _unsupported("match", word.text, word.place)
        raise RuleError(f"Couldn't load match `{word.text}':No such file or directory", word.place)

    def _target(self, word: Word, goto: bool) -> None:
        name = word.text
        if not name:
            raise RuleError("Invalid target name (too short)", word.place)
        if len(name) > LONGEST_CHAIN:
            raise RuleError(f"Invalid target name `{name}' ({LONGEST_CHAIN} chars max)", word.place)
        if any(letter.isspace() for letter in name):
            raise RuleError(f"Invalid target name `{name}'", word.place)
        if name in UNSUPPORTED_TARGETS and not goto:
            raise _unsupported("target", name, word.place)
        known = name in TARGETS and not goto
        self.target = Loaded(TARGETS[name], word.place) if known else Jump(name, goto)
        self.given["target"] = word.place

    def _counters(self, word: Word) -> None:
        packets, comma, octets = word.text.partition(",")
        place = word.place
        if not comma:
            following = self._optional()
            if following is None:
                raise RuleError("-c requires packet and byte counter", word.place)
            octets, place = following.text, following.place
        counted = []
        for what, text, where in (("packet", packets, word.place), ("byte", octets, place)):
            number = c_number(text)
            if number is None or number >= 1 << 64:
                raise RuleError(f"-c {what} counter not numeric", where)
            counted.append(number)
        self.counters = Counters(*counted)

    def _command(self, name: str, word: Word, attached: Word | None) -> None:
        call = self.call
        if name == "version" and call.command:
            return
        if call.command:
            both = {call.command, name}
            if "zero" not in both or not both & LISTS:
                raise RuleError(f"Cannot use {COMMANDS[name][0]} with {COMMANDS[call.command][0]}", word.place)
            call.zero, name = True, name if name in LISTS else call.command
        call.command = name
        self.given["command"] = word.place
        if name == "version":
            return
        chain = self._value(word, attached) if name in WITH_CHAIN else attached or self._optional()
        if chain is None:
            return
        call.chain, call.chain_place = chain.text, chain.place
        if name in ("rename-chain", "policy"):
            following = self._optional()
            if following is None:
                what = "old-chain-name and new-chain-name" if name == "rename-chain" else "a chain and a policy"
                raise RuleError(f"{COMMANDS[name][0]} requires {what}", word.place)
            call.name = following.text
        elif name in WITH_NUMBER:
            self._number(name, word)

    def _number(self, name: str, word: Word) -> None:
        following = self._optional()
        if following is None:
            if name == "replace":
                raise RuleError("-R requires a rule number", word.place)
            return
        number = c_number(following.text)
        if not number or number >= 1 << 32:
            raise RuleError(f"Invalid rule number `{following.text}'", following.place)
        self.call.number = number

    # ---------------------------------------------------------------- the end of the line

    def _complete(self) -> Call:
        call = self.call
        if call.ended:
            target = [self.target] if isinstance(self.target, Loaded) else []
            call.command = "help" if "help" in call.flags else ""
            call.loaded = tuple(dict.fromkeys(slot.cls for slot in [*self.slots, *target]))
            return call
        if not call.command:
            raise RuleError("no command specified", call.place)
        if "wait-interval" in call.flags and "wait" not in call.flags:
            raise RuleError("--wait-interval only makes sense with --wait", call.place)
        call.refuse(self.given)
        if call.command in WITH_RULE and not (call.command == "delete" and call.number):
            call.rules = list(self._rules())
            if call.command == "replace" and len(call.rules) > 1:
                raise RuleError("Replacement rule does not specify a unique address", call.place)
        return call

    def _rules(self) -> Iterator[Rule]:
        said = self.base.values
        sources = said.pop("source", None) or (None,)
        destinations = said.pop("destination", None) or (None,)
        matches: list[Match] = [slot.build() for slot in self.slots]
        target: Target | Jump | None = self.target.build() if isinstance(self.target, Loaded) else self.target
        place = self.given["command"]
        if len(sources) * len(destinations) > _MOST_RULES:
            problem = f"these addresses make {len(sources) * len(destinations)} rules: there may be {_MOST_RULES}"
            raise RuleError(problem, self.given.get("source") or self.given["destination"])
        places = (place, *(slot.place for slot in self.slots), self.given.get("target", place))
        for source, destination in product(sources, destinations):
            base = Base(source=_asked(source), destination=_asked(destination), **said)
            counters = Counters() if self.counters is None else Counters(self.counters.packets, self.counters.bytes)
            yield Rule((base, *matches), target, counters, place, places)


def _asked(said: Is[Masked] | None) -> Is[Masked] | None:
    """None where any address would do."""
    return None if said is None or (said.value.mask == 0 and not said.negated) else said


def _no_blank(word: str, place: Place) -> RuleError:
    return RuleError(f"iptables 1.8.9 takes all of `{word}' for the value: put a blank before the value", place)


def _unsupported(what: str, name: str, place: Place) -> RuleError:
    return RuleError(f"{what} `{name}' is not supported by netlab", place)
