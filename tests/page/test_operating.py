"""The operator's actions in the page, and states that only engines on a GPU can have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from playwright.sync_api import Browser

from router.scheduler.track import FailureKind, LastFailure
from tests.page.axe import check
from tests.page.made_up import CHAT, LLAMA, STOPPING
from tests.page.pretending import PretendedWorker, pretending
from tests.page.rig import SCREENS, Board, showing

NAME = "meta-llama/Llama-3.1-8B-Instruct"


@pytest.fixture(scope="module")
def pretended() -> Iterator[tuple[str, PretendedWorker]]:
    with pretending() as pretended:
        yield pretended


@pytest.fixture
def board(browser: Browser, pretended: tuple[str, PretendedWorker]) -> Iterator[Board]:
    with showing(browser, pretended[0]) as board:
        board.row("default-chat").wait_for()
        yield board


@pytest.fixture
def told(pretended: tuple[str, PretendedWorker]) -> list[str]:
    """The commands that the worker received since the test began."""
    pretended[1].told.clear()
    return pretended[1].told


def done(board: Board, what: str) -> None:
    board.page.get_by_role("status").get_by_text(f"{what}: the worker has taken it.").wait_for()


@pytest.mark.parametrize("screen", ["phone", "desk, dark"])
def test_what_only_a_gpu_has_is_for_everybody(
    browser: Browser, pretended: tuple[str, PretendedWorker], screen: str
) -> None:
    options: dict[str, Any] = SCREENS[screen]
    with showing(browser, pretended[0], **options) as board:
        board.wait("Qwen/Qwen3-14B", "asleep")
        check(board)


def test_an_engine_that_crashed_says_so_while_it_stops(browser: Browser) -> None:
    crash = LastFailure(FailureKind.CRASH, STOPPING.since, "connection lost")
    crashed = replace(STOPPING, failures=1, last_failure=crash)
    with pretending([crashed]) as (url, _), showing(browser, url) as board:
        board.wait("Qwen/Qwen3-0.6B", "crashed")


def test_the_memory_is_drawn_to_scale(board: Board) -> None:
    memory = board.page.get_by_role("list", name="Memory of GPU 0")
    whole = memory.bounding_box()
    parts = memory.get_by_role("listitem").all()
    boxes = [part.bounding_box() for part in parts]
    assert whole
    assert all(boxes)
    chat = next(
        box["width"]
        for part, box in zip(parts, boxes, strict=True)
        if box and "default-chat" in part.inner_text()
    )
    assert chat / whole["width"] == pytest.approx(26 / 76, abs=0.01)
    assert "ahead for support-7b" in memory.inner_html()
    assert memory.get_by_text("missing").count() == 1


def test_an_idle_model_is_unloaded_at_once(board: Board, told: list[str]) -> None:
    board.press("Unload embeddings")
    done(board, "Unload embeddings")
    (line,) = told
    assert line.startswith("unload BAAI/bge-m3@")


def test_a_busy_model_is_unloaded_only_if_the_operator_says_so_again(
    board: Board, told: list[str]
) -> None:
    board.press(f"Unload {NAME}")
    question = board.page.get_by_role("dialog", name="Unload")
    assert "1 in flight" in question.inner_text()
    question.get_by_role("button", name="Leave it").click()
    question.wait_for(state="detached")
    assert told == []
    board.press(f"Unload {NAME}")
    question.get_by_role("button", name="Unload").click()
    done(board, f"Unload {NAME}")
    assert told == [f"unload {LLAMA.key.repo_id}@{LLAMA.key.commit}"]


def test_models_are_loaded_and_pinned(board: Board, told: list[str]) -> None:
    board.page.get_by_label("Model to load").fill("org/another@v2")
    board.press("Load")
    done(board, "Load org/another@v2")
    board.press(f"Pin {NAME}")
    done(board, f"Pin {NAME}")
    board.press("Unpin default-chat")
    done(board, "Unpin default-chat")
    assert told == [
        "load org/another@v2",
        f"pin {LLAMA.key.repo_id}@{LLAMA.key.commit}",
        f"unpin {CHAT.key.repo_id}@{CHAT.key.commit}",
    ]


def test_the_models_file_is_read_again(board: Board, told: list[str]) -> None:
    board.press("Reload models")
    done(board, "Reload models")
    assert told == ["reload"]


def test_the_worker_is_drained_only_if_the_operator_says_so_again(
    board: Board, told: list[str]
) -> None:
    board.press("Drain")
    question = board.page.get_by_role("dialog", name="Drain")
    board.page.keyboard.press("Escape")
    question.wait_for(state="detached")
    assert told == []
    board.press("Drain")
    question.get_by_role("button", name="Drain").click()
    done(board, "Drain")
    assert told == ["drain"]
