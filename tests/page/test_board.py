"""The operator watches models load, answer, crash and leave, in a real Chromium."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.request import Request, urlopen

import pytest

from tests.e2e.harness import ENDLESS, Harness
from tests.page.rig import Board
from tests.worker import Worker

MODELS_CONFIG = """
- model: acme/poet
  aliases: [rhymer]
  memory: 1GiB
- model: acme/endless
  memory: 2GiB
"""


@pytest.fixture(scope="module")
def worker(harness: Harness) -> Iterator[Worker]:
    harness.model("acme/poet")
    harness.model("acme/endless", **ENDLESS)
    with harness.worker(
        MODELS_CONFIG=MODELS_CONFIG,
        GPU_MEMORY_BUDGET="4GiB",
        MAX_LOADED_MODELS="4",
        STANDBY_ENGINES="0",
    ) as worker:
        yield worker


def test_a_models_answer_streams_and_its_state_is_seen_to_change(board: Board) -> None:
    board.wait("rhymer", "not loaded")
    board.ask("rhymer")
    board.answer("I am acme/poet")
    status = board.page.locator("#ask-status")
    status.get_by_text(re.compile(r"First token after .*, \d+ tokens")).wait_for()
    board.wait("rhymer", "ready")
    memory = board.page.get_by_role("list", name="Memory of GPU 0")
    memory.get_by_role("listitem").filter(
        has_text=re.compile("rhymer *1 GiB, ready")
    ).wait_for()
    heard = board.page.get_by_role("status").filter(has_text="rhymer is ready")
    heard.wait_for(state="attached")
    lane = board.page.get_by_role("img", name=re.compile("^rhymer: 1 start"))
    lane.wait_for()


def test_an_endless_answer_can_be_stopped(harness: Harness, board: Board) -> None:
    board.ask("acme/endless")
    board.answer("I")
    board.wait("acme/endless", "ready")
    flying = board.row("acme/endless").get_by_role("cell").nth(1)
    flying.get_by_text("1", exact=True).wait_for()
    board.page.get_by_role("button", name="Stop").click()
    board.page.locator("#ask-status").get_by_text(re.compile("^Stopped")).wait_for()
    flying.get_by_text("0", exact=True).wait_for()
    board.until(lambda: harness.journal.events("cancelled", "acme/endless"))


def test_a_killed_engine_is_told_and_seen(harness: Harness, board: Board) -> None:
    board.ask("acme/endless")
    board.answer("I")
    harness.journal.kill_engine("acme/endless")
    board.page.locator("#ask-status").get_by_text("engine_failed").wait_for()
    board.answer("I")  # the received text is still there
    board.wait("acme/endless", "crashed")
    board.page.get_by_role("button", name="acme/endless", exact=True).click()
    sheet = board.page.get_by_role("dialog", name="acme/endless")
    sheet.get_by_text(re.compile("^crash at ")).wait_for()
    reason = sheet.get_by_label("Reason of the last failure").inner_text()
    assert re.search("connection|SIGKILL", reason)


def test_an_error_says_what_to_do(board: Board) -> None:
    board.ask("acme/missing")
    board.page.locator("#ask-status").get_by_text("model_not_found").wait_for()


def test_requests_are_listed_while_they_run_and_can_be_filtered(board: Board) -> None:
    board.ask("acme/endless")
    board.answer("I")
    rows = board.page.locator("#requests").get_by_role("row")
    rows.filter(has_text="acme/endless").filter(has_text="in progress").wait_for()
    board.page.get_by_role("button", name="Stop").click()
    board.ask_again("rhymer")
    answered = rows.filter(has_text="acme/poet").filter(has_text="ok").first
    answered.wait_for()
    assert re.fullmatch(r"[\d.]+ m?s", answered.get_by_role("cell").nth(6).inner_text())
    # Only this test's: the page of another test also left its request when it closed.
    left = rows.filter(has_text="acme/endless").filter(has_text="caller left")
    left.first.wait_for()
    board.page.get_by_label("Filter by model, caller, outcome or id").fill("poet")
    left.first.wait_for(state="hidden")
    board.page.get_by_label("Filter by model, caller, outcome or id").fill("")
    board.page.get_by_label("Show", exact=True).select_option("not answered")
    answered.wait_for(state="hidden")
    left.first.wait_for()


def test_what_an_engine_prints_is_shown_as_it_comes(harness: Harness, board: Board) -> None:
    board.ask("rhymer")
    board.answer("I am acme/poet")
    board.page.get_by_role("button", name="rhymer", exact=True).click()
    log = board.page.get_by_role("log", name="Engine log")
    log.get_by_text(re.compile("ready to roll")).wait_for()
    before = len(log.inner_text().split("to roll!"))
    harness.journal.kill_engine("acme/poet")
    with urlopen(chat(board.url, "rhymer")) as answer:
        assert answer.status == 200
    starts = (
        "before => document.querySelector('#log').innerText.split('to roll!').length > before"
    )
    board.page.wait_for_function(starts, arg=before)


def chat(url: str, model: str) -> Request:
    body = {"model": model, "messages": [{"role": "user", "content": "Who are you?"}]}
    headers = {"Content-Type": "application/json"}
    return Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), headers)


def test_a_model_is_loaded_pinned_and_unloaded_by_its_buttons(board: Board) -> None:
    for button, state in (("Unload", "not loaded"), ("Load", "ready")):
        board.press(f"{button} rhymer")
        board.wait("rhymer", state)
    board.press("Pin rhymer")
    board.row("rhymer").get_by_text("never: pinned").wait_for()
    board.press("Unload rhymer")
    board.wait("rhymer", "not loaded")
    memory = board.page.get_by_role("list", name="Memory of GPU 0")
    memory.get_by_text("rhymer").wait_for(state="detached")


def test_a_model_that_cant_be_loaded_says_why(board: Board) -> None:
    board.page.get_by_label("Model to load").fill("acme/missing")
    board.press("Load")
    board.page.locator("#models-note").get_by_text("Load acme/missing failed: ").wait_for()
