"""Take pictures of the operator's page: python -m tests.page [--docs] FOLDER

They show a real router on a simulated GPU, with fake engines and waiting callers: idle, while
two models load, full, after an engine was killed; on a phone, in dark mode, with a model's
details. Nothing is drawn by hand, so each run differs a little. `--docs` puts two of them
there.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from tests.page import staged
from tests.page.rig import PHONE, Board, browsing, showing
from tests.page.staged import Stage
from tests.worker import ROOT

_DESK: dict[str, Any] = {"viewport": {"width": 1200, "height": 900}}
_SCREENS: dict[str, dict[str, Any]] = {
    "light": _DESK,
    "dark": {**_DESK, "color_scheme": "dark"},
    "phone": {"viewport": PHONE},
    "phone-dark": {"viewport": PHONE, "color_scheme": "dark"},
}
# For a document: the whole board, small enough to fit beside text.
_PAGE = {"viewport": {"width": 1200, "height": 1540}, "device_scale_factor": 0.75}


class Album:
    """Takes pictures of a stage."""

    def __init__(self, browser: Browser, stage: Stage, folder: Path) -> None:
        self._browser, self._stage, self._folder = browser, stage, folder

    @contextmanager
    def opened(self, **options: Any) -> Iterator[Board]:
        with showing(self._browser, self._stage.worker.url, **options) as board:
            board.unlock(self._stage.operators_key)
            board.row("default-chat").wait_for()
            yield board

    def take(self, name: str, *screens: str) -> None:
        """Take the whole page on each of these screens."""
        for screen in screens:
            with self.opened(**_SCREENS[screen]) as board:
                self.keep(board, f"{name}-{screen}")

    def keep(self, board: Board, name: str, *, whole: bool = True) -> None:
        file = self._folder / f"{name}.png"
        board.page.screenshot(path=file, animations="disabled", full_page=whole)
        print(f"{file}: {file.stat().st_size >> 10} KiB")


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with browsing() as browser, staged.staged() as stage:
        play(stage, Album(browser, stage, folder))


def play(stage: Stage, album: Album) -> None:
    album.take("idle", "light", "phone")
    _fill(stage, album)
    _make_room(stage, album)
    _crash(stage, album)


def _fill(stage: Stage, album: Album) -> None:
    """Load models until the GPU is full."""
    stage.answered("nightly", staged.EMBEDDINGS, times=3)
    stage.answered("ann", staged.CHAT, times=2)
    stage.ask("ann", staged.PRIVATE, times=2)
    stage.until_state(staged.PRIVATE, "fetching")
    stage.ask("ben", "vision", times=2)
    stage.ask("ann", "vision")
    stage.until_state(staged.VISION, "starting")
    album.take("loading", "light", "dark", "phone")
    stage.answered("ben", staged.BROKEN)
    stage.answered("ann", staged.LLAMA, times=2)
    stage.until_state(staged.PRIVATE, "ready")
    stage.answered("nightly", staged.EMBEDDINGS, times=2)


def _make_room(stage: Stage, album: Album) -> None:
    """Request one more model: a busy engine finishes and leaves."""
    stage.ask("ben", staged.LLAMA, tokens=400)
    stage.ask("ann", staged.CHAT, tokens=4000, times=4)
    stage.ask("ben", staged.CHAT, tokens=4000, times=2)
    stage.until(staged.LLAMA, lambda one: one["in_flight"]["requests"])
    stage.ask("nightly", staged.LARGE, times=3)
    stage.until(staged.LARGE, lambda one: one["waiting"]["leaving"])
    for scheme in ("light", "dark"):
        with album.opened(**_PAGE, color_scheme=scheme) as board:
            board.page.get_by_label("Message").fill("What does a router do, and when?")
            board.page.get_by_text("Keys", exact=True).click()
            board.page.get_by_label("API key of a caller").fill(stage.keys["ann"])
            board.press("Send")
            board.answer("first.")
            board.page.get_by_text("Keys", exact=True).click()
            album.keep(board, f"page-{scheme}", whole=False)
    album.take("full", "light", "phone-dark")


def _crash(stage: Stage, album: Album) -> None:
    """Kill an engine while it answers."""
    stage.until(staged.CHAT, lambda one: one["in_flight"]["requests"])
    with album.opened(**_SCREENS["light"]) as board:
        board.show_events()
        stage.harness.journal.kill_engine(staged.CHAT)
        board.wait("default-chat", "crashed")
        album.keep(board, "crash-light")
        board.page.get_by_role("button", name="default-chat", exact=True).click()
        board.page.get_by_role("log").get_by_text("ready to roll").wait_for()
        album.keep(board, "details-light", whole=False)
    album.take("crash", "dark", "phone")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.page", description=__doc__)
    parser.add_argument("--docs", action="store_true", help="also replace those in docs/")
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    main(asked.folder)
    if asked.docs:
        for name in ("page-light.png", "page-dark.png"):
            shutil.copy(asked.folder / name, ROOT / "docs")
