"""Routes and rules as text: the words of `ip route` and `ip rule`, read and printed as iproute2 does."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final, NamedTuple

from netlab.addresses import Prefix, parse_address
from netlab.names import NetlabError
from netlab.route import (
    LOCAL,
    MAIN,
    PROTOCOL_NAMES,
    TABLE_NAMES,
    Route,
    RouteType,
    Rule,
    RuleAction,
    Scope,
)
from netlab.routing import Fib


class Word(NamedTuple):
    """A word and the column it starts in, counted from 1."""

    text: str
    column: int


class Words:
    """The words of one command, taken one by one; every complaint names command and column."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._words: list[Word] = []
        end = 0
        for part in text.split():
            start = text.index(part, end)
            end = start + len(part)
            self._words.append(Word(part, start + 1))
        self._next = 0

    def __iter__(self) -> Iterator[Word]:
        while self._next < len(self._words):
            self._next += 1
            yield self._words[self._next - 1]

    def peek(self) -> str:
        """The word that comes next; empty at the end."""
        return self._words[self._next].text if self._next < len(self._words) else ""

    def value(self, of: Word) -> Word:
        """The word behind a keyword."""
        if self._next == len(self._words):
            raise self.error(of, f"{of.text!r} needs a value")
        self._next += 1
        return self._words[self._next - 1]

    def error(self, word: Word, complaint: str) -> NetlabError:
        """A complaint about one word."""
        return NetlabError(f"{self.text.strip()!r}, column {word.column}: {complaint}")


# ---------------------------------------------------------------------- values


def read_number(text: str, base: int = 0) -> int:
    """A number from 0 to 2^32-1 in C's notation (0x10, 16)."""
    number = int(text, base)
    if not 0 <= number <= 0xFFFFFFFF:
        raise ValueError(text)
    return number


def read_named(names: dict[int, str], highest: int) -> Callable[[str], int]:
    """A reader of names that also takes the bare number."""
    numbers = {name: number for number, name in names.items()}

    def read(text: str) -> int:
        number = numbers[text] if text in numbers else read_number(text)
        if number > highest:
            raise ValueError(text)
        return number

    return read


def read_tos(text: str) -> int:
    """A type of service: two hexadecimal digits, as iproute2 reads it with or without 0x."""
    number = read_number(text, 16)
    if number > 0xFF:
        raise ValueError(text)
    return number


def read_mark(text: str) -> tuple[int, int]:
    """`0x1` or `0x1/0xff` as mark and mask. A bare mark compares all bits, a bare 0 none (fib_nl2rule)."""
    mark, slash, mask = text.partition("/")
    value = read_number(mark)
    return value, read_number(mask) if slash else 0xFFFFFFFF if value else 0


def read_scope(text: str) -> Scope:
    """`link`, or one of the numbers behind the names."""
    return Scope(int(text)) if text.isdigit() else Scope[text.upper()]


read_table = read_named(TABLE_NAMES, 0xFFFFFFFF)
read_protocol = read_named(PROTOCOL_NAMES, 255)


class Keyword(NamedTuple):
    """What a keyword sets: the field of Route or Rule, and how its value is read."""

    field: str
    read: Callable[[str], Any]
    kind: str


ROUTE_KEYWORDS: Final = {
    "dev": Keyword("dev", str, "an interface"),
    "oif": Keyword("dev", str, "an interface"),
    "via": Keyword("gateway", parse_address, "an IPv4 address"),
    "src": Keyword("source", parse_address, "an IPv4 address"),
    "metric": Keyword("metric", read_number, "a number"),
    "preference": Keyword("metric", read_number, "a number"),
    "priority": Keyword("metric", read_number, "a number"),
    "table": Keyword("table", read_table, "a table's name or number"),
    "proto": Keyword("protocol", read_protocol, "a routing protocol's name or number"),
    "protocol": Keyword("protocol", read_protocol, "a routing protocol's name or number"),
    "scope": Keyword("scope", read_scope, "global, site, link, host or nowhere"),
    "tos": Keyword("tos", read_tos, "a type of service in hexadecimal"),
    "dsfield": Keyword("tos", read_tos, "a type of service in hexadecimal"),
    "mtu": Keyword("mtu", read_number, "a number of bytes"),
}

RULE_KEYWORDS: Final = {
    "from": Keyword("source", Prefix.parse, "a prefix"),
    "to": Keyword("destination", Prefix.parse, "a prefix"),
    "iif": Keyword("iif", str, "an interface"),
    "dev": Keyword("iif", str, "an interface"),
    "oif": Keyword("oif", str, "an interface"),
    "fwmark": Keyword("mark", read_mark, "a mark, or mark/mask"),
    "tos": Keyword("tos", read_tos, "a type of service in hexadecimal"),
    "dsfield": Keyword("tos", read_tos, "a type of service in hexadecimal"),
    "table": Keyword("table", read_table, "a table's name or number"),
    "lookup": Keyword("table", read_table, "a table's name or number"),
    "priority": Keyword("priority", read_number, "a number"),
    "preference": Keyword("priority", read_number, "a number"),
    "pref": Keyword("priority", read_number, "a number"),
    "prio": Keyword("priority", read_number, "a number"),
    "order": Keyword("priority", read_number, "a number"),
    "proto": Keyword("protocol", read_protocol, "a routing protocol's name or number"),
    "protocol": Keyword("protocol", read_protocol, "a routing protocol's name or number"),
}

MULTIPATH: Final = ("nexthop", "nhid")


def read_value(words: Words, word: Word, keyword: Keyword, given: dict[str, Any]) -> Any:
    """The value behind a keyword; a second one for the same field is refused."""
    if keyword.field in given:
        raise words.error(word, f"{word.text!r} is given twice")
    value = words.value(word)
    try:
        return keyword.read("0.0.0.0/0" if keyword.read == Prefix.parse and value.text == "all" else value.text)
    except (ValueError, KeyError):
        raise words.error(value, f"{value.text!r} is not {keyword.kind}") from None
    except NetlabError as error:
        raise words.error(value, str(error)) from None


# ---------------------------------------------------------------------- reading routes


def route_fields(words: Words) -> dict[str, Any]:
    """The fields of Route that the words of `ip route add` or `del` name."""
    given: dict[str, Any] = {}
    for word in words:
        if word.text in ROUTE_KEYWORDS:
            if word.text == "via" and words.peek() == "inet":
                words.value(word)
            if word.text == "mtu" and words.peek() == "lock":
                raise words.error(word, "'mtu lock' is not supported")
            keyword = ROUTE_KEYWORDS[word.text]
            given[keyword.field] = read_value(words, word, keyword, given)
        elif word.text == "onlink":
            given["onlink"] = True
        elif word.text in MULTIPATH:
            raise words.error(word, f"routes with several next hops are not supported ({word.text})")
        elif word.text in list(RouteType) and "type" not in given and "prefix" not in given:
            given["type"] = RouteType(word.text)
        elif "prefix" not in given:
            place = words.value(word) if word.text == "to" else word
            try:
                given["prefix"] = Prefix.parse(place.text)
            except NetlabError as error:
                raise words.error(place, str(error)) from None
        else:
            known = ", ".join(sorted({*ROUTE_KEYWORDS, "onlink"}))
            raise words.error(word, f"unknown word {word.text!r} (netlab knows {known})")
    if "prefix" not in given:
        raise NetlabError(f"{words.text.strip()!r}: a route needs a destination")
    return given


def parse_route(text: str) -> Route:
    """The words of `ip route add`, with the defaults that iproute2 fills in.

    >>> parse_route("10.9.0.0/16 via 10.0.2.2 metric 100").metric
    100

    Raises:
        NetlabError: a word that is unknown, twice or wrong, with its column.
    """
    given = route_fields(Words(text))
    kind = given.get("type", RouteType.UNICAST)
    on_link = kind is RouteType.UNICAST and "gateway" not in given
    if kind is RouteType.LOCAL:
        given.setdefault("scope", Scope.HOST)
    elif on_link or kind in (RouteType.BROADCAST, RouteType.MULTICAST):
        given.setdefault("scope", Scope.LINK)
    if kind in (RouteType.LOCAL, RouteType.BROADCAST):
        given.setdefault("table", LOCAL)
    # `via 0.0.0.0` names no gateway, it only widens the scope; `src 0.0.0.0` says nothing.
    given |= {name: given.get(name) or None for name in ("gateway", "source")}
    return Route(**given)


def delete_route(fib: Fib, text: str) -> Route:
    """`ip route del WORDS`: the first route that has everything the words say.

    Raises:
        NetlabError: a word that is unknown, or there is no such route (`No such process`).
    """
    given = route_fields(Words(text))
    given.pop("onlink", None)
    if given.get("type") in (RouteType.LOCAL, RouteType.BROADCAST):
        given.setdefault("table", LOCAL)
    return fib.delete(given.pop("prefix"), **given)


def parse_routes(text: str) -> list[Route]:
    """What `ip route show` printed, line by line; `table all` as well.

    Raises:
        NetlabError: a line that is no route, with its number.
    """
    return [read_line(number, line, printed_route) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def printed_route(line: str) -> Route:
    """One printed line. Unlike what is typed, it leaves nothing to fill in; `linkdown` is a state of the interface."""
    return Route(**route_fields(Words(line.replace(" linkdown", ""))))


def read_line(number: int, line: str, read: Callable[[str], Any]) -> Any:
    """Read one line of a listing; a complaint names the line."""
    try:
        return read(line)
    except NetlabError as error:
        raise NetlabError(f"line {number}: {error}") from None


# ---------------------------------------------------------------------- reading rules


def rule_fields(words: Words) -> dict[str, Any]:
    """The fields of Rule that the words of `ip rule add` or `del` name."""
    given: dict[str, Any] = {}
    for word in words:
        if word.text in RULE_KEYWORDS:
            keyword = RULE_KEYWORDS[word.text]
            value = read_value(words, word, keyword, given)
            if keyword.field == "mark":
                given["mark"], given["mask"] = value
            elif keyword.field == "table" and value == 0:
                raise words.error(word, "table 0 stands for no table")
            else:
                given[keyword.field] = value
        elif word.text == "not":
            given["invert"] = True
        elif word.text in list(RuleAction):
            given["action"] = RuleAction(word.text)
        else:
            known = ", ".join(sorted({*RULE_KEYWORDS, "not", *RuleAction}))
            raise words.error(word, f"unknown word {word.text!r} (netlab knows {known})")
    return given


def parse_rule(text: str) -> Rule:
    """The words of `ip rule add`; without a table it is main, without a priority the kernel chooses.

    >>> print(parse_rule("fwmark 0x1 table 100").words())
    from all fwmark 0x1 lookup 100

    Raises:
        NetlabError: a word that is unknown, twice or wrong, with its column.
    """
    return Rule(**rule_fields(Words(text)))


def delete_rule(fib: Fib, text: str) -> Rule:
    """`ip rule del WORDS`: the first rule that has everything the words say.

    Raises:
        NetlabError: a word that is unknown, or there is no such rule (`No such file or directory`).
    """
    return fib.delete_rule(**rule_fields(Words(text)))


def parse_rules(text: str) -> list[Rule]:
    """What `ip rule` printed, line by line.

    Raises:
        NetlabError: a line that is no rule, with its number.
    """
    return [read_line(number, line, printed_rule) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def printed_rule(line: str) -> Rule:
    """One printed line, `32766:	from all lookup main`."""
    priority, colon, words = line.partition(":")
    if not colon or not priority.isdigit():
        raise NetlabError(f"{line!r} does not start with a priority")
    return replace(parse_rule(words), priority=int(priority))


# ---------------------------------------------------------------------- printing


def format_routes(fib: Fib, table: int | None = MAIN) -> str:
    """What `ip route show table TABLE` prints, byte for byte; None: `table all`.

    Raises:
        NetlabError: there is no such table.
    """
    if table is None:
        shown = [route for each in fib.tables for route in each]
    elif table in fib:
        shown = list(fib.table(table))
    else:
        raise NetlabError(f"table {TABLE_NAMES.get(table, table)}: Error: ipv4: FIB table does not exist.")
    return "".join(f"{r.words(show_table=table is None, linkdown=fib.is_linkdown(r))} \n" for r in shown)


def format_rules(fib: Fib) -> str:
    """What `ip rule` prints, byte for byte."""
    return "".join(f"{rule}\n" for rule in fib.rules)
