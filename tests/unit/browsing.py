"""A real browser for tests: the Chromium on the PATH, driven by Playwright, which looks nothing up and reports nothing."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_QUIET = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--mute-audio"),
)


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser (playwright's `Browser`); the test is skipped, with a reason, where there is none."""
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"no browser on the PATH: install one of {', '.join(NAMES)}")
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=list(_QUIET))
        try:
            yield browser
        finally:
            browser.close()
