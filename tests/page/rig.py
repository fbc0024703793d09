"""The operator's page in a real Chromium."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, sync_playwright

PROGRAM = next(
    filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))),
    None,
)
DESK = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}
SCREENS: dict[str, dict[str, Any]] = {
    "desk": {"viewport": DESK},
    "desk, dark": {"viewport": DESK, "color_scheme": "dark"},
    "phone": {"viewport": PHONE, "has_touch": True, "is_mobile": True},
    "phone, dark": {"viewport": PHONE, "color_scheme": "dark", "reduced_motion": "reduce"},
}
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")  # root has no sandbox
_PATIENCE = 90_000.0  # milliseconds, enough for the busiest machine
_ANSWERED = "Failed to load resource"  # a status of 400 or more; the page shows it itself


@contextmanager
def browsing() -> Iterator[Browser]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=PROGRAM, args=list(_FLAGS), timeout=_PATIENCE
        )
        try:
            yield browser
        finally:
            browser.close()


class Board:
    """The page of one worker. `faults`: errors that the browser reports."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.faults: list[str] = []
        page.set_default_timeout(_PATIENCE)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", self._look)

    def open(self) -> None:
        self.page.goto(f"{self.url}/ui")

    def unlock(self, key: str) -> None:
        """Enter the operator's key."""
        self.page.get_by_label("ADMIN_API_KEY of this worker").fill(key)
        self.press("Open")

    def row(self, model: str) -> Locator:
        """A row of the table of models."""
        named = self.page.get_by_role("rowheader").filter(has_text=model)
        return self.page.locator("#rows").get_by_role("row").filter(has=named)

    def wait(self, model: str, state: str) -> None:
        """Wait until a model is shown in a state."""
        self.row(model).locator(".state").get_by_text(state, exact=True).wait_for()

    def ask(self, model: str, message: str = "Who are you?") -> None:
        self.page.get_by_label("Model", exact=True).fill(model)
        self.page.get_by_label("Message").fill(message)
        self.page.get_by_role("button", name="Send").click()

    def ask_again(self, model: str) -> None:
        """Ask another model, whatever happened to the previous question."""
        # The script's click does nothing to a disabled button; Playwright's waits for it, and
        # the answer may end at any moment.
        self.page.get_by_role("button", name="Stop").evaluate("button => button.click()")
        self.ask(model)

    def show_events(self) -> None:
        """Show all events of the last hour. A wide screen shows them from the beginning."""
        story = self.page.locator("#story")
        if story.get_attribute("open") is None:
            story.get_by_text("All events", exact=True).click()

    def press(self, button: str) -> None:
        self.page.get_by_role("button", name=button, exact=True).click()

    def answer(self, text: str) -> None:
        """Wait until the playground shows a text."""
        self.page.get_by_role("region", name="Answer").get_by_text(text).first.wait_for()

    def until(self, holds: Callable[[], object]) -> None:
        """Wait until something outside of the page is true."""
        deadline = time.monotonic() + _PATIENCE / 1000
        while not holds():
            assert time.monotonic() < deadline
            self.page.wait_for_timeout(10)

    @property
    def width(self) -> int:
        """The width of the page in pixels."""
        pixels: int = self.page.evaluate("document.documentElement.scrollWidth")
        return pixels

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and _ANSWERED not in message.text:
            self.faults.append(message.text)

    def _look(self, request: Request) -> None:
        if urlsplit(request.url).netloc != urlsplit(self.url).netloc:
            self.faults.append(f"it asked {request.url}")


@contextmanager
def showing(browser: Browser, url: str, **context: Any) -> Iterator[Board]:
    """Open the page in a new browser. At the end, it must have no faults. `context`: see
    Playwright's `new_context`."""
    opened = browser.new_context(**{"viewport": DESK, **context})
    try:
        board = Board(opened.new_page(), url)
        board.open()
        yield board
        assert board.faults == []
    finally:
        opened.close()
