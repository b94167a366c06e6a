"""The widgets of tracking and rules in Chromium: their buttons, by mouse and keyboard, and what axe thinks of them."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from netlab.host import Host
from netlab.packet import Packet
from netlab.views import fill_table, follow_entry, turn_clock, walk_rules, walk_tcp
from netlab.views.panel import Panel
from tests.browser.conftest import picture, violations
from tests.browser.test_widgets import LOOKS

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]

Show = Callable[..., Any]
QUERY = Packet.udp("10.0.1.2", "10.0.2.2", 5000, 53)


FORWARDING = {"net.ipv4.ip_forward": 1}


def router() -> Host:
    sysctls = FORWARDING | {"net.netfilter.nf_conntrack_buckets": 4}
    return Host("router", {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}, sysctls=sysctls, conntrack="on")


def entry() -> Panel:
    return follow_entry(router(), ("eth0", QUERY))


def table() -> Panel:
    return fill_table(router(), (("eth0", QUERY.with_(sport=port)) for port in count(5000)), 4)


def clock() -> Panel:
    host = router()
    host.receive("eth0", QUERY)
    return turn_clock(host)


def rules() -> Panel:
    text = "*filter\n:FORWARD DROP [0:0]\n:web - [0:0]\n-A FORWARD -j web\n-A web -p tcp -j ACCEPT\nCOMMIT\n"
    host = Host("router", {"eth0": "10.0.1.1/24", "eth1": "10.0.2.1/24"}, sysctls=FORWARDING, iptables=text)
    return walk_rules(host, ("eth0", QUERY))


PRESSED = {"entry": (entry, "Forward"), "table": (table, "10 packets"), "clock": (clock, "+10 s"),
           "tcp": (walk_tcp, "client: SYN"), "rules": (rules, "Forward")}  # fmt: skip


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS.keys())
@pytest.mark.parametrize(("make", "button"), PRESSED.values(), ids=PRESSED.keys())
def test_a_button_changes_the_picture_and_the_story(
    show: Show, make: Callable[[], Panel], button: str, look: dict[str, Any], request: Any
) -> None:
    page = show(make(), **look)
    story, drawn = page.locator(".panelstory"), page.locator(".panelpicture")
    before = story.inner_text(), drawn.inner_html()
    assert violations(page) == []
    page.get_by_role("button", name=button, exact=True).click()
    page.wait_for_function("before => document.querySelector('.panelstory').innerText !== before", arg=before[0])
    assert drawn.inner_html() != before[1]
    assert violations(page) == []
    picture(page, f"tracking-{request.node.callspec.id}")


def test_by_keyboard_alone_and_no_further_than_the_end(show: Show) -> None:
    page = show(entry())
    forward = page.get_by_role("button", name="Forward", exact=True)
    forward.focus()
    for stop in range(2, 6):
        page.keyboard.press("Enter")
        page.locator(".panelstory", has_text=f"{stop} of 5").wait_for()
    assert forward.get_attribute("aria-disabled") == "true"
    page.keyboard.press("Enter")
    assert page.locator(".panelstory").inner_text().startswith("5 of 5")
    assert page.locator("table.entry.confirmed").count() == 1
