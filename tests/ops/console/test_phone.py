"""At a telephone's width nothing is off the screen."""

from __future__ import annotations

from playwright.sync_api import Browser

from tests.ops.console.visitor import Served

WIDTH = 390
PATHS = [
    "/",
    "/flows/customer-to-accounting",
    "/flows/customer-to-accounting/fields/name",
    "/systems/crm",
    "/letters",
    "/waiting",
    "/duplicates",
    "/conflicts",
    "/drift",
    "/differences",
    "/differences/customer-to-accounting/heal",
    "/checklists",
    "/checklists/customer-to-plan",
    "/trace",
    "/audit",
    "/advice",
    "/runbooks",
    "/runbooks/stopped",
]
OFF = """() => [...document.querySelectorAll('button, input, select, textarea, a, summary')].filter(e => {
  const r = e.getBoundingClientRect();
  if (!r.width || e.closest('.scroll, table, .unseen, nav') || e.classList.contains('skip')) return false;
  return r.right > innerWidth + 1 || r.left < -1;
}).map(e => (e.textContent || e.name || e.tagName).trim().slice(0, 60))"""


def test_nothing_is_off_a_telephone_s_screen(console: Served, browser: Browser) -> None:
    context = browser.new_context(viewport={"width": WIDTH, "height": 844})
    page = context.new_page()
    found = {}
    for path in PATHS:
        page.goto(console.url + path)
        wide = page.evaluate("document.documentElement.scrollWidth")
        off = page.evaluate(OFF)
        if wide > WIDTH or off:
            found[path] = wide, off
    context.close()
    assert found == {}
