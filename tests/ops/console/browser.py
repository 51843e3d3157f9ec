"""A real browser for the console's tests: Debian's chromium without windows, or another one that is here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

MOST_PAGES = 80
_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
_FIX = (
    "the console's tests need a browser: `make tools` (Debian's chromium-headless-shell), or SORBUS_CHROMIUM=/path;"
    " to leave them out: TESTS=\"-m 'not slow and not real and not browser'\""
)


@contextmanager
def opened() -> Iterator[Browser]:
    """A browser without a window."""
    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)  # where somebody has run `playwright install chromium`
        found = os.environ.get("SORBUS_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
        assert found or own.is_file(), _FIX
        browser = playwright.chromium.launch(
            executable_path=found or own,
            args=["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        try:
            yield browser
        finally:
            browser.close()


def is_complaint(said: ConsoleMessage) -> bool:
    return said.type == "error" and "401 (Unauthorized)" not in said.text


def faults(url: str, page: Page, paths: list[str]) -> list[str]:
    """What axe-core finds on pages, in light and dark, wide and narrow; and pages that are wider than the screen."""
    axe, wrong = Axe(), []
    for path in paths:
        for scheme, width in (("light", 1280), ("dark", 400)):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(url + path)
            wrong += [
                f"{path} ({scheme}, {width}): {one['id']}: {one['help']}: {one['nodes'][0]['html'][:200]}"
                for one in axe.run(page).response["violations"]
                if one["impact"] in ("serious", "critical", "moderate")
            ]
            if page.evaluate("document.documentElement.scrollWidth") > width:
                wrong.append(f"{path} is wider than {width} pixels")
    return wrong


def crawl(url: str, page: Page, *, without: str = "\0") -> list[str]:
    """Every page that links lead to, in three variants at most; each answers, and none shows `without`."""
    found, reached = ["/"], 0
    while reached < len(found):
        assert reached < MOST_PAGES, f"more pages than expected: {found}"
        answer = page.goto(url + found[reached])
        assert answer is not None
        assert answer.status == 200, found[reached]
        assert without not in page.content(), f"{found[reached]} shows what no page may"
        reached += 1
        for href in page.eval_on_selector_all("a[href^='/']", "links => links.map(link => link.getAttribute('href'))"):
            way = str(href).partition("#")[0]
            variants = sum(each.partition("?")[0] == way.partition("?")[0] for each in found)
            if way and way not in found and variants < 3:
                found.append(way)
    return found
