"""Both worlds side by side, as a browser shows them: no widget, plain HTML."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from netlab.kernel.golden import LABS
from netlab.scenario import load
from netlab.simulate import run
from netlab.views import Both
from tests.browser.conftest import PAGE, picture, violations
from tests.browser.test_widgets import LOOKS

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]


@pytest.fixture(params=LOOKS, ids=list(LOOKS))
def page(chromium: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page with a result on it in which one hook's verdict differs and what was dropped is unknown."""
    look = dict(LOOKS[request.param])
    theme = look.pop("theme", None)
    viewport = {"width": look.pop("width", 1000), "height": look.pop("height", 900)}
    scenario = load(LABS / "02_ttl.yaml")
    trace = run(scenario)
    kernel = copy.deepcopy(trace.to_json())
    kernel["steps"][0]["path"][1]["verdict"] = "DROP"
    kernel["steps"][1]["dropped"] = "unknown"
    shown = Both(scenario, trace, kernel, "a trace recorded on Linux 9.9")._repr_html_()
    context = chromium.new_context(viewport=viewport, **look)
    page = context.new_page()
    attribute = f' data-jp-theme-light="{theme}"' if theme else ""
    page.set_content(PAGE.replace("<body", f"<body{attribute}") + shown)
    page.name = "both, " + request.param
    yield page
    context.close()


def test_it_is_readable_in_every_look(page: Any) -> None:
    picture(page, page.name, full_page=True)
    assert not violations(page, ".netlab-worlds")
    differing = page.locator("tr.differs")
    assert differing.count() == 1
    assert "≠ differs" in differing.inner_text()
    assert "? unknown" in page.locator("tr.unknown").inner_text()
    lines = [
        page.evaluate("row => getComputedStyle(row.cells[0]).borderBottomWidth", row.element_handle())
        for row in (differing, page.locator("tr.same").first)
    ]
    assert lines == ["2px", "1px"], "a difference is framed"


def test_what_does_not_fit_is_reached_by_the_keyboard(page: Any) -> None:
    region = page.get_by_role("region", name="Both worlds")
    region.focus()
    hidden = region.evaluate("box => box.scrollWidth - box.clientWidth")
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    page.wait_for_timeout(300)
    scrolled = region.evaluate("box => box.scrollLeft")
    assert (scrolled > 0) == (hidden > 0)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page itself never scrolls sideways"
