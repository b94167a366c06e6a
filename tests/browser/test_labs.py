"""The labs in real JupyterLab: every cell is run by the menu, the widgets are used by mouse and by keyboard."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from netlab.workspace import notebooks
from tests.browser.conftest import picture, violations
from tests.browser.jupyter import Lab, jupyterlab, run_all
from tests.browser.test_widgets import STEP

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]

LABS = {path.parent.name: path for path in notebooks()}
HOOKS, VERDICTS = "01_hooks", "02_verdicts"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    root, state = tmp_path_factory.mktemp("labs"), tmp_path_factory.mktemp("jupyter")
    for name, notebook in LABS.items():
        (root / name).mkdir()
        shutil.copy(notebook, root / name)
    with jupyterlab(root, state) as running:
        yield running


@pytest.fixture(scope="module")
def opened(chromium: Any, lab: Lab) -> Iterator[Callable[[str], Any]]:
    """`opened("01_hooks")` is the page with that lab in it, all its cells run; each lab is run once."""
    pages: dict[str, Any] = {}

    def open_lab(name: str) -> Any:
        if name not in pages:
            pages[name] = None
            page = chromium.new_page(viewport={"width": 1280, "height": 900})
            page.set_default_timeout(20_000)
            page.errors = []
            page.on("pageerror", lambda error: page.errors.append(str(error)))
            run_all(page, lab, f"{name}/{name}.ipynb")
            pages[name] = page
        if pages[name] is None:
            pytest.fail(f"{name} did not run: see the first failure")
        return pages[name]

    yield open_lab
    for page in filter(None, pages.values()):
        page.close()


def widget(page: Any, label: str) -> Any:
    """The first widget with that name, scrolled into view."""
    found = page.locator(f".netlab[aria-label*='{label}']").first
    found.scroll_into_view_if_needed()
    return found


def press(within: Any, name: str) -> None:
    within.get_by_role("button", name=name, exact=True).click()


@pytest.mark.parametrize("name", LABS)
def test_a_lab_runs_from_top_to_bottom(opened: Callable[[str], Any], name: str) -> None:
    page = opened(name)
    errors = page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").all_inner_texts()
    assert errors == []
    assert page.locator(".jp-RenderedHTMLCommon", has_text="Error displaying widget").count() == 0
    pictures = page.locator(".jp-MarkdownOutput img").evaluate_all(
        "images => images.map(image => [image.alt, image.naturalWidth > 0])"
    )
    assert [alt for alt, shown in pictures if not shown] == []
    assert all(alt for alt, _ in pictures), "a picture without words"
    picture(page, f"lab-{name}")
    assert page.errors == []


@pytest.mark.parametrize("name", LABS)
def test_axe_finds_nothing_in_the_widgets_of_a_lab(opened: Callable[[str], Any], name: str) -> None:
    page = opened(name)
    if page.locator(".netlab").count():
        assert violations(page) == []
    else:
        assert name not in (HOOKS, VERDICTS), "no widget in it"


def test_the_packet_flow_by_mouse(opened: Callable[[str], Any]) -> None:
    page = opened(HOOKS)
    flow = widget(page, "Packet flow")
    flow.get_by_label("Destination", exact=True).select_option("10.0.1.1")
    press(flow, "Predict its way")
    for hook in ("LOCAL_OUT", "POST_ROUTING", "PRE_ROUTING", "LOCAL_IN"):
        press(flow, hook)
    press(flow, "Lock my prediction")
    flow.locator(".player").wait_for()
    for _ in range(4):
        press(flow, "Forward")
    assert "a second lap" in flow.locator(".story").inner_text()
    page.wait_for_timeout(500)
    picture(flow, "lab-packet-flow")
    press(flow, "Last")
    assert flow.locator(".remark").inner_text().startswith("As you predicted")
    times = []
    forward = flow.get_by_role("button", name="Forward", exact=True)
    for _ in range(3):
        press(flow, "First")
        times.append([forward.evaluate(STEP.replace("document.", 'button.closest(".netlab").')) for _ in range(6)])
    assert max(min(step) for step in zip(*times, strict=True)) < 100
    assert violations(page) == []
    press(flow, "Another packet")
    flow.get_by_text("Build a packet").wait_for()


def test_the_packet_flow_by_keyboard_is_not_disturbed_by_shortcuts(opened: Callable[[str], Any]) -> None:
    page = opened(HOOKS)
    flow = widget(page, "Packet flow")
    cells = page.locator(".jp-Cell").count()
    flow.get_by_label("Source", exact=True).focus()
    # In command mode JupyterLab would take these letters for shortcuts: add a cell, delete one, make it Markdown.
    for key in ("a", "b", "d", "d", "m", "1"):
        page.keyboard.press(key)
    flow.get_by_label("Source", exact=True).select_option("here")
    flow.get_by_role("button", name="Predict its way").focus()
    page.keyboard.press("Enter")
    flow.get_by_text("Which hooks will it enter").wait_for()
    focused = "document.activeElement.textContent"
    assert page.evaluate(focused) == "PRE_ROUTING"
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert flow.locator("ol.guess li").all_inner_texts() == ["LOCAL_OUT"]
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    flow.locator(".player").wait_for()
    assert page.evaluate(focused) == "Forward ›"
    page.keyboard.press("ArrowRight")
    assert flow.locator(".count").inner_text().startswith("Step 2 of")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("End")
    total = flow.locator(".count").inner_text().split()[-1]
    assert flow.locator(".count").inner_text() == f"Step {total} of {total}"
    assert page.locator(".jp-Cell").count() == cells, "no cell was added or deleted"
    assert flow.evaluate("element => element.contains(document.activeElement)")
    page.locator(".jp-DocumentWidget.jp-mod-dirty, .lm-TabBar-tab.jp-mod-dirty").first.wait_for(state="attached")
    page.keyboard.press("Control+s")
    page.locator(".lm-TabBar-tab.jp-mod-dirty").wait_for(state="detached")
    press(flow, "Another packet")


def test_a_prediction_is_locked_before_it_is_revealed(opened: Callable[[str], Any]) -> None:
    page = opened(HOOKS)
    question = widget(page, "Prediction")
    assert question.locator(".player").count() == 0
    question.get_by_role("radio").first.check()
    press(question, "Lock my prediction")
    question.locator(".player").wait_for()
    assert question.get_by_role("radio").count() == 0
    picture(question, "lab-prediction")
    assert violations(page) == []


def test_the_rail_of_functions_in_the_lab_about_verdicts(opened: Callable[[str], Any]) -> None:
    page = opened(VERDICTS)
    steps = widget(page, "Journey")
    rail = steps.locator(".rail")
    for _ in range(60):
        if rail.is_visible() and rail.locator("li[aria-current=step]").count():
            break
        press(steps, "Forward")
    assert rail.locator("li[aria-current=step] .calls").inner_text().startswith("called")
    page.wait_for_timeout(500)
    picture(steps, "lab-rail")


def test_the_dark_theme(opened: Callable[[str], Any]) -> None:
    page = opened(HOOKS)
    page.get_by_role("menuitem", name="Settings", exact=True).click()
    page.locator(".lm-Menu-itemLabel", has_text="Theme").first.hover()
    page.locator(".lm-Menu-itemLabel", has_text="JupyterLab Dark").first.click()
    page.locator("body[data-jp-theme-light=false]").wait_for(state="attached")
    flow = widget(page, "Packet flow")
    assert flow.evaluate("element => getComputedStyle(element).colorScheme") == "dark"
    assert violations(page) == []
    page.wait_for_timeout(300)
    picture(page, "lab-dark")
