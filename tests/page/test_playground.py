"""Keys and tokens typed into the page go where they belong, and are not stored anywhere."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Request

from tests.e2e.harness import Harness
from tests.page.rig import Board, showing
from tests.worker import Worker

MODEL = "acme/gated"
STORES = """async () => JSON.stringify([
    {...localStorage}, {...sessionStorage}, document.cookie, location.href, history.state,
    await indexedDB.databases(), await caches.keys(), performance.getEntries(),
])"""


@dataclass(frozen=True)
class Secrets:
    operators: str
    callers: str
    token: str

    def __iter__(self) -> Iterator[str]:
        return iter((self.operators, self.callers, self.token))


@pytest.fixture(scope="module")
def known(harness: Harness) -> Secrets:
    harness.model(MODEL, gated=True)
    token = harness.hub.add_account("visitor")
    harness.hub.accept(MODEL, "visitor")
    return Secrets(secrets.token_hex(16), secrets.token_hex(16), token)


@pytest.fixture(scope="module")
def worker(harness: Harness, known: Secrets) -> Iterator[Worker]:
    with harness.worker(
        ADMIN_API_KEY=known.operators, API_KEYS=known.callers, STANDBY_ENGINES="0"
    ) as worker:
        yield worker


@pytest.fixture
def board(browser: Browser, worker: Worker, known: Secrets) -> Iterator[Board]:
    with showing(browser, worker.url) as board:
        board.unlock(known.operators)
        yield board


def refused(board: Board, code: str) -> None:
    board.page.locator("#ask-status").get_by_text(f"({code})").wait_for()


def test_the_operators_key_is_asked_for_and_kept_nowhere(
    browser: Browser, worker: Worker, known: Secrets
) -> None:
    refusals = worker.log.count("invalid_api_key")
    with showing(browser, worker.url) as board:
        field = board.page.get_by_label("ADMIN_API_KEY of this worker")
        field.wait_for()
        assert worker.log.count("invalid_api_key") == refusals  # the page has not tried any
        board.unlock("wrong")
        board.page.get_by_text("This is not the key.").wait_for()
        board.unlock(known.operators)
        board.page.get_by_role("heading", name="GPU memory").wait_for()
        assert known.operators not in board.page.evaluate(STORES)
        assert known.operators not in worker.log
        board.page.reload()
        field.wait_for()
        assert field.input_value() == ""


def hand_over(board: Board, *, key: str = "", token: str = "") -> None:
    """Fill in the fields. They are shown as soon as one is missing."""
    board.page.get_by_label("API key of a caller").fill(key)
    board.page.get_by_label("Hugging Face token").fill(token)


def test_a_wrong_key_is_told_and_its_field_is_shown(board: Board, known: Secrets) -> None:
    field = board.page.get_by_label("API key of a caller")
    assert not field.is_visible()
    board.ask(MODEL)
    refused(board, "invalid_api_key")
    assert field.is_visible()
    for wrong in ("wrong", known.operators):  # the operator's key is not a caller's key
        hand_over(board, key=wrong, token=known.token)
        board.ask(MODEL)
        board.page.get_by_text("Waiting for the first token").wait_for(state="detached")
        refused(board, "invalid_api_key")


def test_the_token_opens_a_gated_model_and_is_kept_nowhere(
    harness: Harness, worker: Worker, board: Board, known: Secrets
) -> None:
    asked: list[Request] = []

    def note(request: Request) -> None:
        asked.append(request)

    board.page.on("request", note)
    board.ask(MODEL)
    refused(board, "invalid_api_key")
    hand_over(board, key=known.callers)
    board.ask(MODEL)
    refused(board, "model_gated")
    hand_over(board, key=known.callers, token=known.token)
    board.ask(MODEL)
    board.answer(f"I am {MODEL}")
    assert any(one.account == "visitor" for one in harness.hub.requests)

    (bearer,) = [one for one in asked if known.token in one.headers.values()]
    assert bearer.url == f"{board.url}/v1/chat/completions"
    assert not any(known.operators in str(one.headers) for one in asked if "/v1/" in one.url)
    stored = board.page.evaluate(STORES) + str(board.page.context.storage_state())
    upstream = str(harness.journal.events("request", MODEL))
    for secret in known:
        assert secret not in stored
        assert secret not in upstream
        assert secret not in worker.log
        assert not any(secret in f"{one.url} {one.post_data}" for one in asked)

    board.page.reload()
    board.unlock(known.operators)
    for label in ("API key of a caller", "Hugging Face token"):
        assert board.page.get_by_label(label).input_value() == ""
    board.page.go_back()  # nor in what the browser keeps of a page that was left
    board.page.go_forward()
    assert board.page.get_by_label("Hugging Face token").input_value() == ""
