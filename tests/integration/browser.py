"""The Chromium that is installed, and what a page asks for and says in it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium: apt-get install chromium"
)
PHONE, DESKTOP = 360, 1280
TEXT_CONTRAST = 4.5  # WCAG 2.2, 1.4.3, level AA
_OPTIONS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@dataclass(frozen=True, slots=True)
class Opened:
    """A page in the browser, where it came from, and what it asked for and said since."""

    page: Page
    address: str
    requests: list[str]
    words: list[str]


@contextmanager
def running_browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=_OPTIONS)
        yield running
        running.close()


def open_page(browser: Browser, address: str, width: int, **context: Any) -> Opened:
    """A page in a window of its own, without motion."""
    window = browser.new_context(
        viewport={"width": width, "height": 800}, **{"reduced_motion": "reduce", **context}
    )
    found = Opened(window.new_page(), address, [], [])
    window.on("request", lambda request: found.requests.append(request.url))
    window.on("console", lambda message: found.words.append(message.text))
    found.page.on("pageerror", lambda error: found.words.append(str(error)))
    found.page.on("dialog", lambda dialog: found.words.append(dialog.message))
    found.page.goto(address)
    return found
