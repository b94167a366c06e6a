"""The rules of one host in force: bound to its hooks, exchanged as a whole, and walked.

Each chain of a table hangs on its hook as a function of its own. Conntrack is switched on by the first rule that needs
it, wherever that rule stands, and off with the last.
"""

from collections.abc import Callable, Iterator
from functools import cache, partial
from html import escape
from random import Random
from typing import Final

from netlab.conntrack.track import Conntrack
from netlab.hooks import Answer, HookFunction, Hooks, HookState, Registered, Reply
from netlab.iptables.check import check, extensions
from netlab.iptables.compile import Compiled, Program, compile_table
from netlab.iptables.engine import BoundChain, Functions, bind, walk
from netlab.iptables.extension import Variant
from netlab.iptables.matches.hashlimit import HashlimitMatch, HashLimits
from netlab.iptables.matches.recent import RecentMatch, RecentTables
from netlab.iptables.model import TABLES, Counters, Rule, Ruleset, Table
from netlab.iptables.restore import restore
from netlab.iptables.save import save
from netlab.iptables.sets import Sets
from netlab.iptables.words import RuleError
from netlab.machine import Machine
from netlab.names import Hook, NetlabError, Verdict
from netlab.nat.nat import Nat
from netlab.packet import Packet

NFT_SECURITY: Final = 150  # iptables-nft has the table security later than the kernel's own tables have it
ROUTED_AGAIN: Final = "mangle"  # whose OUTPUT chain's changes may change the route (nf_route_table_hook4)


class Firewall:
    """What `iptables` works on.

    Args:
        host: whose rules they are.
        hooks: where its chains are to hang.
        track: switches the host's conntrack on, or off unless something else needs it; what is on then.
        nat: the host's NAT.
        variant: which of the two iptables wrote the rules; they differ in small things.
    """

    def __init__(
        self,
        host: Machine,
        hooks: Hooks,
        *,
        track: Callable[[bool], Conntrack | None],
        nat: Callable[[], Nat],
        variant: Variant = "nft",
    ) -> None:
        self.host = host
        self.variant = variant
        self.ruleset = Ruleset()
        self.sets = Sets(lambda: host.wires.clock.now, self._references)
        self.recent = RecentTables(host)
        self.hashlimits = HashLimits(host)
        self.random = Random(f"rules of {host.name}")
        self._hooks = hooks
        self._track = track
        self._nat = nat
        self._bound: Functions = {}
        self._registered: list[Registered] = []

    # ---------------------------------------------------------------- what rules are bound to

    def tracker(self) -> Conntrack:
        """The host's connection tracking: a rule that asks for it has switched it on."""
        tracker = self._track(True)
        assert tracker is not None
        return tracker

    def nat(self) -> Nat:
        """The host's address translation."""
        return self._nat()

    # ---------------------------------------------------------------- what a user does

    def restore(self, text: str, *, noflush: bool = False, counters: bool = False) -> None:
        """Load rules, as `iptables-restore` does: all of them, or none.

        Raises:
            RuleError: what is wrong with the text, with its line and column.
        """
        self.replace(restore(text, self.ruleset, noflush=noflush, counters=counters, variant=self.variant))

    def save(self, *, counters: bool = False, table: str | None = None) -> str:
        """The rules as `iptables-save` prints them, without its comments, which tell the time."""
        return save(self.ruleset, counters=counters, table=table)

    def replace(self, ruleset: Ruleset) -> None:
        """Put these rules in the place of those in force. A rule that is in both goes on with what it remembers.

        Raises:
            RuleError: the kernel would refuse them; then those in force stay.
        """
        check(ruleset, self.variant)
        if self.variant == "legacy":
            self._count_anew(ruleset)
        rules = [rule for table in ruleset.tables.values() for rule in table.rules()]
        naming = (one for rule in rules if rule.sets for one in extensions(rule))
        for extension, place in naming:
            if missing := next((name for name in extension.sets if name not in self.sets), None):
                raise RuleError(f"Set {missing} doesn't exist.", place)
        tracked = self._track(any(rule.needs_conntrack for rule in rules)) is not None
        kept = {rule: self._bound[rule] for rule in self._staying(ruleset) if rule in self._bound}
        functions = {name: list(self._functions(table, kept)) for name, table in ruleset.tables.items()}
        for entry in self._registered:
            self._hooks.unregister(entry)
        self._registered = [
            self._hooks.register(*one) for name, several in functions.items() if name != "nat" for one in several
        ]
        if tracked and (translating := functions.get("nat")):
            self._registered += self._nat().attach({hook: function for hook, function, *_ in translating})
        self.ruleset, self._bound = ruleset, kept
        matches = [match for rule in rules for match in rule.matches]
        self.recent.keep(match.table for match in matches if isinstance(match, RecentMatch))
        self.hashlimits.keep(match.table for match in matches if isinstance(match, HashlimitMatch) and match.table)

    def _count_anew(self, ruleset: Ruleset) -> None:
        """With iptables-legacy all policies count, and begin at 0 whenever anything in their table is changed."""
        for name, table in ruleset.tables.items():
            before = self.ruleset.tables.get(name)
            for chain in table.chains.values() if table is not before else ():
                chain.counted = chain.hook is not None
                if before and chain.name in before.chains and chain.counters is before.chains[chain.name].counters:
                    chain.counters = Counters()

    def _references(self, name: str) -> int:
        """How often rules in force name that set."""
        return sum(rule.sets.count(name) for table in self.ruleset.tables.values() for rule in table.rules())

    def _staying(self, ruleset: Ruleset) -> Iterator[Rule]:
        """The rules that go on with what they remember: iptables-legacy makes every rule of a changed table anew."""
        for name, table in ruleset.tables.items():
            if self.variant == "nft" or table is self.ruleset.tables.get(name):
                yield from table.rules()

    def source(self, table: str) -> str:
        """The Python functions that take packets over that table's chains while nobody wants to know each rule.

        Raises:
            NetlabError: the table is not in use.
        """
        if table not in self.ruleset.tables:
            raise NetlabError(f"{self.host.name} has no rules in a table {table!r}")
        return compile_table(bind(self.ruleset.tables[table], self, self._bound)).source

    def _functions(
        self, table: Table, kept: Functions
    ) -> Iterator[tuple[Hook, HookFunction, int, str, HookFunction | None]]:
        """The functions that take packets over a table's chains, with their places."""
        chains = bind(table, self, kept)
        program = cache(partial(compile_table, chains))
        for chain in chains.values():
            hook = chain.chain.hook
            if hook is not None and (chain.chain.hooked or self.variant == "legacy"):
                # What other chains change in a packet is no reason to look its route up again: they do it in place.
                in_place = table.name != ROUTED_AGAIN or hook is not Hook.LOCAL_OUT
                quick = _compiled(chain, program)
                told = self._function(chain, quick, in_place=in_place)
                yield hook, told, self._priority(table.name, hook), str(chain), quick if in_place else None

    def _priority(self, table: str, hook: Hook) -> int:
        return NFT_SECURITY if table == "security" and self.variant == "nft" else TABLES[table][hook]

    def _function(self, chain: BoundChain, quick: Compiled, *, in_place: bool) -> HookFunction:
        """The hook function of a chain: where somebody reads along it walks, else it runs what was compiled."""
        wires, frees = self.host.wires, self.variant == "nft"

        def function(packet: Packet, state: HookState) -> Answer:
            skb = state.skb
            answer: Answer
            if wires.record:
                answer = walk(chain, packet, state, wires.record)._replace(frees=frees)
            else:
                answer = quick(packet, state)
            if in_place or skb.packet is packet:
                return answer
            after, skb.packet = skb.packet, packet
            return answer if isinstance(answer, Reply) else (answer, after)

        return function

    def __str__(self) -> str:
        return self.save()

    def __repr__(self) -> str:
        return f"<Firewall of {self.host.name}: {', '.join(self.ruleset.tables) or 'no tables'}>"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self.save()) or 'no rules'}</pre>"


def _compiled(chain: BoundChain, program: Callable[[], Program]) -> Compiled:
    """What runs a chain's compiled rules. They are compiled when the first packet comes: many hosts never see one."""
    run: Compiled | None = None

    def quick(packet: Packet, state: HookState) -> Verdict | int:
        nonlocal run
        if run is None:
            run = program().entry(chain)
        return run(packet, state)

    return quick
