"""The page without a mouse, with a screen reader, on a phone, in dark mode. axe finds nothing
wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.e2e.harness import ENDLESS, Harness
from tests.page.axe import check
from tests.page.rig import SCREENS, Board, showing
from tests.worker import Worker

MODELS_CONFIG = """
- model: acme/poet
  aliases: [rhymer]
  memory: 1GiB
  pin: true
- model: acme/endless
  memory: 1GiB
- model: acme/slow
  memory: 1GiB
- model: acme/broken
  memory: 1GiB
- model: acme/a-name-that-is-far-longer-than-any-screen-of-a-phone-is-wide-at-0.6B-Instruct
  memory: 1GiB
"""
NEVER = 600  # seconds, longer than any test


@pytest.fixture(scope="module")
def worker(harness: Harness) -> Iterator[Worker]:
    harness.model("acme/poet")
    harness.model("acme/endless", **ENDLESS)
    harness.model("acme/slow", start_delay=NEVER)
    harness.model("acme/broken", die_at_start=3, last_words="ValueError: " + "no kernel " * 99)
    with harness.worker(
        MODELS_CONFIG=MODELS_CONFIG,
        GPU_MEMORY_BUDGET="3GiB",
        MAX_LOADED_MODELS="4",
        STANDBY_ENGINES="0",
    ) as worker:
        yield worker


def test_before_anything_is_loaded_it_is_for_everybody(board: Board) -> None:
    board.row("rhymer").wait_for()
    check(board)


@pytest.fixture(scope="module")
def busy(browser: Browser, worker: Worker) -> None:
    """One model is ready, one has failed, and one is starting."""
    with showing(browser, worker.url) as board:
        board.ask("acme/broken")
        board.wait("acme/broken", "start failed")
        board.ask_again("rhymer")
        board.answer("I am acme/poet")
        board.ask_again("acme/slow")
        board.wait("acme/slow", "starting")


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize("screen", ["desk", "phone, dark"])
def test_every_state_is_for_everybody(browser: Browser, worker: Worker, screen: str) -> None:
    with showing(browser, worker.url, **SCREENS[screen]) as board:
        board.wait("rhymer", "ready")
        board.wait("acme/broken", "start failed")
        board.show_events()
        board.page.get_by_text("Keys", exact=True).click()
        check(board)
        board.page.get_by_role("button", name="acme/broken", exact=True).click()
        board.page.get_by_role("dialog", name="acme/broken").wait_for()
        check(board, "dialog")


def test_the_page_is_used_by_the_keyboard_alone(board: Board) -> None:
    board.row("rhymer").wait_for()
    keyboard = board.page.keyboard
    keyboard.press("Tab")
    focused = board.page.locator(":focus")
    assert focused.inner_text() == "Skip to the models"
    keyboard.press("Enter")
    for _ in range(3):  # the field for a model's name, its button, and the first model
        keyboard.press("Tab")
    assert focused.inner_text() == "rhymer"
    assert focused.evaluate("one => getComputedStyle(one).outlineStyle") == "solid"
    keyboard.press("Enter")
    sheet = board.page.get_by_role("dialog", name="rhymer")
    sheet.wait_for()
    keyboard.press("Escape")
    sheet.wait_for(state="hidden")
    assert focused.inner_text() == "rhymer"


def test_what_has_the_focus_keeps_it_while_states_change(board: Board) -> None:
    name = board.page.get_by_role("button", name="acme/endless", exact=True)
    name.focus()
    board.ask("acme/endless")
    name.focus()
    board.answer("I")
    board.wait("acme/endless", "ready")
    assert name.evaluate("one => one === document.activeElement")


def test_a_screen_reader_hears_what_changes(board: Board) -> None:
    board.row("rhymer").wait_for()
    board.ask("acme/broken")
    heard = board.page.get_by_role("status").filter(
        has_text=re.compile("acme/broken start failed")
    )
    heard.wait_for(state="attached")
