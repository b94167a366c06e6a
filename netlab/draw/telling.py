"""What is told of one event: a title, a sentence, and the facts under it."""

from typing import Final, NamedTuple

from netlab.draw.rulewalk import Back
from netlab.packet import Packet
from netlab.trace import Called, Ruled

Fact = tuple[str, str]


class Said(NamedTuple):
    """What is told of one event."""

    title: str
    story: str
    facts: list[Fact]
    verdict: str = ""
    end: str = ""


def say_ruled(event: Ruled, back: Back) -> Said:
    """What a rule decides, or the end of a chain; `back` is the call stack while the rule is asked."""
    place = f"{event.table}:{event.chain}"
    changed = _changes(event)
    facts = [packet_fact(event.after)]
    facts += [("before", str(event.before))] * bool(changed) + [("changed", change) for change in changed]
    facts += [("rule", event.text)] * bool(event.text)
    facts += [("call stack", " › ".join([*(f"{chain} rule {rule}" for chain, rule in back), event.chain]))] * bool(back)
    if event.rule is None and event.verdict == "RETURN":
        return Said(f"End of {place}", f"The end of {place}, and nothing is decided: {_goes_on(event, back)}", facts)
    if event.rule is None:
        story = f"No rule has decided, and no chain waits for a return: the policy of {place} does, {event.verdict}."
        return Said(f"Policy of {place}", story, facts, verdict=event.verdict)
    does = _does(event, back, changed)
    return Said(
        f"Rule {event.rule} of {place}", f"Rule {event.rule} of {place} means the packet and {does}", facts,
        verdict=event.verdict,
    )  # fmt: skip


def _does(event: Ruled, back: Back, changed: list[str]) -> str:
    match event.verdict.split():
        case ["JUMP", chain]:
            return f"jumps to {chain}; a return from there goes on behind this rule."
        case ["GOTO", chain]:
            return f"goes to {chain}; no return leads to {event.chain}."
        case ["RETURN"]:
            return f"returns: {_goes_on(event, back)}"
        case ["CONTINUE"]:
            changes = f"changes {', '.join(changed)}, and " if changed else ""
            return f"{changes}lets the walk go on."
    return f"decides: {event.verdict}."


def _goes_on(event: Ruled, back: Back) -> str:
    if not back:
        return "no chain waits for it, so the policy decides."
    chain, number = back[-1]
    return f"on behind rule {number} of {event.table}:{chain}."


def _changes(event: Called | Ruled) -> list[str]:
    return [f"{name}: {old} → {new}" for name, old, new in event.before.diff(event.after)]


def say_called(event: Called) -> Said:
    """What a hook function answers, and what it changes."""
    changes = _changes(event)
    facts = [packet_fact(event.after)] + [("before", str(event.before))] * bool(changes)
    facts += [("changed", change) for change in changes] + [("on", f"{event.hook}, priority {event.priority}")]
    facts += [("note", event.note)] if event.note else []
    # A checksum changes with whatever it covers: that is in the facts, and no news.
    news = [change for change in changes if "checksum" not in change] or changes
    changed = f" and changes {', '.join(news)}" if news else ""
    story = f"{event.function} is called at priority {event.priority}{changed}. It answers {event.verdict}"
    meaning = _MEANING.get(event.verdict)
    end = "stolen" if event.verdict == "STOLEN" else ""
    return Said(event.function, f"{story}: {meaning}." if meaning else f"{story}.", facts, event.verdict, end)


_MEANING: Final = {
    "ACCEPT": "on to what comes next",
    "DROP": "the end of the packet",
    "STOLEN": "the function keeps the packet, nobody else sees it again",
    "QUEUE": "the packet is to wait for a program in userspace",
}


def packet_fact(packet: Packet | None) -> Fact:
    """The packet as it is then."""
    return ("packet", str(packet or "bytes that are no packet"))


def named(by: str) -> str:
    """Who made a packet, at the start of a sentence."""
    return capital(by if by.startswith(("a ", "the ")) else f"the {by}" if by == "kernel" else by)


def capital(text: str) -> str:
    """With a capital letter."""
    return text[:1].upper() + text[1:]


def sentence(text: str) -> str:
    """As a sentence."""
    return capital(text) if text.endswith((".", "!", "?")) else f"{capital(text)}."
