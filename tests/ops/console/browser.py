"""A real browser for the console's tests: Debian's chromium, or another one that is here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_CURE = (
    "the console's tests need a browser: `make browser` (Debian's chromium), or SORBUS_CHROMIUM=/path/to/chromium;"
    " to leave them out: TESTS=\"-m 'not slow and not real and not browser'\""
)


@contextmanager
def opened() -> Iterator[Browser]:
    """A browser without a window."""
    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)  # where somebody has run `playwright install chromium`
        found = os.environ.get("SORBUS_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
        assert found or own.is_file(), _CURE
        browser = playwright.chromium.launch(
            executable_path=found or own,
            args=["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        try:
            yield browser
        finally:
            browser.close()
