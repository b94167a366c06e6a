"""A headless Chromium, and a bare page on which a widget lives with its Python half behind it."""

import json
import shutil
from collections.abc import Callable, Iterator
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from netlab.views.widget import View
from tests.conftest import CI

OUTPUT = Path(__file__).resolve().parents[2] / "output" / "browser"

# What a notebook gives a widget: a model with get, set, save_changes, on, off, send.
MODEL = """
window.mount = async (esm, css, state) => {
  const sheet = document.createElement("style");
  sheet.textContent = css;
  document.head.append(sheet);
  const heard = {};
  const fire = (name) => (heard[name] ?? []).slice().forEach((listener) => listener());
  let unsaved = {};
  window.take = (changes) => {
    Object.assign(state, changes);
    for (const name of Object.keys(changes)) fire(`change:${name}`);
    if (Object.keys(changes).length) fire("change");
  };
  const model = {
    get: (name) => state[name],
    set: (name, value) => { unsaved[name] = value; window.take({ [name]: value }); },
    save_changes: () => { window.python("state", unsaved); unsaved = {}; },
    on: (name, listener) => (heard[name] ??= []).push(listener),
    off: (name, listener) => { heard[name] = (heard[name] ?? []).filter((one) => one !== listener); },
    send: (message) => { window.python("message", message).then(window.take); },
  };
  const widget = await import(URL.createObjectURL(new Blob([esm], { type: "text/javascript" })));
  widget.default.render({ model, el: document.querySelector("main") });
};
"""

PAGE = """<!doctype html><html lang="en"><title>netlab</title>
<body style="margin:0;color-scheme:light dark;background:light-dark(#fff,#111)"><main style="padding:8px"></main>"""


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Debian's Chromium, driven by Playwright, with a profile of its own."""
    program = shutil.which("chromium")
    missing = [name for name in ("playwright", "axe_playwright_python") if find_spec(name) is None]
    if missing or program is None:
        complain = pytest.fail if CI else pytest.skip
        complain(f"not installed here: {', '.join(missing) or 'chromium'}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture
def show(chromium: Any) -> Iterator[Callable[..., Any]]:
    """`show(widget, color_scheme="dark", ...)` gives a page with that widget on it."""
    contexts = []

    def show(widget: View, *, width: int = 1000, height: int = 900, theme: str | None = None, **options: Any) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
        page.errors = errors

        def python(kind: str, content: dict[str, Any]) -> dict[str, Any]:
            before = state(widget)
            if kind == "message":
                widget._handle_custom_msg(content, [])
            else:
                widget.set_state(content)
            return {name: value for name, value in state(widget).items() if before[name] != value}

        page.expose_function("python", python)
        attribute = f' data-jp-theme-light="{theme}"' if theme else ""
        page.set_content(PAGE.replace("<body", f"<body{attribute}"))
        page.add_script_tag(content=MODEL)
        page.evaluate("([esm, css, state]) => mount(esm, css, state)", [widget._esm, widget._css, state(widget)])
        return page

    yield show
    for context in contexts:
        context.close()


def state(widget: View) -> dict[str, Any]:
    """The synced traits, as JSON carries them."""
    names = [name for name, trait in widget.traits(sync=True).items() if not name.startswith("_")]
    return json.loads(json.dumps({n: getattr(widget, n) for n in names if n not in ("layout", "tabbable", "tooltip")}))


def picture(page: Any, name: str, **options: Any) -> None:
    """Keep a screenshot of a page, or of an element."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(OUTPUT / f"{name}.png"), **options)


def violations(page: Any, selector: str = ".netlab") -> list[str]:
    """What axe finds within the widgets, a line each."""
    if not page.evaluate("'axe' in window"):
        page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("selector => axe.run(selector)", selector)
    assert found["passes"], "axe looked at nothing"
    return [
        f"{one['id']}: {one['help']}: {[node['target'] for node in one['nodes']]} {one['nodes'][0]['failureSummary']}"
        for one in found["violations"]
    ]
