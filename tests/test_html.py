"""Tables for notebooks: where text stands, what is escaped."""

import pytest

from netlab.conntrack.text import parse_line
from netlab.host import Host
from netlab.html import Code, html_table
from netlab.names import ACCEPT

LEFT, RIGHT = 'style="text-align:left"', 'style="text-align:right"'


def test_text_stands_to_the_left_and_numbers_to_the_right() -> None:
    shown = html_table([("a < b", 1), ("c", 2)], ("what", "count"), "all")
    assert f"<caption {LEFT}>all</caption>" in shown
    assert f'<th scope="col" {LEFT}>what</th><th scope="col" {RIGHT}>count</th>' in shown
    assert f"<tr><td {LEFT}>a &lt; b</td><td {RIGHT}>1</td></tr>" in shown


def test_names_of_rows_and_code() -> None:
    shown = html_table([("x", Code("<y>"))], caption=Code("z"), named=True)
    assert f'<th scope="row" {LEFT}>x</th><td {LEFT}><code>&lt;y&gt;</code></td>' in shown
    assert "<code>z</code></caption>" in shown
    assert "<thead>" not in shown


def test_a_table_without_rows_keeps_its_head() -> None:
    assert f'<th scope="col" {LEFT}>a</th></tr></thead><tbody></tbody>' in html_table([], ("a",))


def test_a_row_too_short_for_the_head_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="zip"):
        html_table([("a",)], ("one", "two"))


def test_objects_of_many_rooms_show_themselves_so() -> None:
    host = Host("router", {"eth0": "10.0.1.1/24"})
    host.register("LOCAL_IN", lambda packet, state: ACCEPT, 7, "welcome")
    line = parse_line("udp 17 29 src=10.0.1.2 dst=10.0.1.1 sport=1 dport=2 src=10.0.1.1 dst=10.0.1.2 sport=2 dport=1")
    for one in (host, host.sysctls, host.hooks, host.fib.table(254), host.queue(), line):
        cells = one._repr_html_().count("<td")
        assert one._repr_html_().count("<td style=") == cells, one
    assert f"<td {LEFT}>LOCAL_IN</td><td {RIGHT}>7</td><td {LEFT}>welcome</td>" in host.hooks._repr_html_()
    assert repr(host.hooks) == "<Hooks of router: 1 functions>"
    assert "no functions" in Host("idle").hooks._repr_html_()
