"""Texts written by strangers are shown unchanged and do nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.e2e.harness import Harness
from tests.page.rig import Board, showing
from tests.worker import Worker

# Each would set a mark if the page treated it as more than text.
MARKUP = "<img src=x onerror=document.mark=1><script>document.mark=2</script>"
MODELS_CONFIG = f"""
- model: acme/poet
  aliases: ["{MARKUP}"]
"""


@pytest.fixture(scope="module")
def worker(harness: Harness) -> Iterator[Worker]:
    harness.model("acme/poet", answer=f"I say {MARKUP}")
    harness.model("acme/broken", die_at_start=3, last_words=f"ValueError: {MARKUP}")
    with harness.worker(MODELS_CONFIG=MODELS_CONFIG, STANDBY_ENGINES="0") as worker:
        yield worker


def does_nothing(board: Board) -> None:
    assert board.page.evaluate("document.mark") is None
    assert board.page.locator("img, script:not([src])").count() == 0


def test_a_models_name_and_its_answer(board: Board) -> None:
    board.row(MARKUP).wait_for()
    board.ask("acme/poet")
    board.answer(MARKUP)
    board.wait(MARKUP, "ready")
    board.page.get_by_role("list", name="Memory of GPU 0").get_by_text("script>").wait_for()
    does_nothing(board)


def test_what_an_engine_prints_and_dies_of(board: Board) -> None:
    board.ask("acme/broken")
    board.page.locator("#ask-status").get_by_text("engine_failed").wait_for()
    board.show_events()
    board.page.locator("#events").get_by_text(f"ValueError: {MARKUP}").wait_for()
    board.page.get_by_role("button", name="acme/broken", exact=True).click()
    board.page.get_by_label("Reason of the last failure").get_by_text(MARKUP).wait_for()
    log = board.page.get_by_role("log", name="Engine log")
    log.filter(has_text=f"ValueError: {MARKUP}").wait_for()
    does_nothing(board)


def test_the_name_that_a_caller_asks_for(board: Board) -> None:
    board.ask(f"acme/{MARKUP}")
    board.page.locator("#ask-status").get_by_text("invalid").wait_for()
    does_nothing(board)


def test_the_policy_stops_what_the_page_itself_would_do(
    browser: Browser, worker: Worker
) -> None:
    """The policy protects even if a line of the page's own code is wrong."""
    with showing(browser, worker.url) as board:
        wrong = "document.body.innerHTML = '<b>x</b>'"
        refused = board.page.evaluate(
            f"(() => {{ try {{ {wrong} }} catch {{ return true }} }})()"
        )
        assert refused
        board.faults.clear()
