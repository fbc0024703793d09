"""Pictures of the operator's page: python -m tests.page FOLDER

Of a worker with fake engines: idle, loading, full, after a crash. And of one that is made up,
with what only a GPU has: light, dark, details, on a phone. The two in docs/ are among these.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from tests.e2e.harness import ENDLESS, Harness
from tests.loopback_hub import LoopbackHub
from tests.page.made_up import LLAMA
from tests.page.pretending import pretending
from tests.page.rig import PHONE, Board, browsing, showing

_DESK = {"width": 1200, "height": 900}
# Small enough for a document, with the hour.
_WHOLE: dict[str, Any] = {
    "viewport": {"width": 1200, "height": 1200},
    "device_scale_factor": 0.75,
}
_DARK: dict[str, Any] = {"viewport": _DESK, "color_scheme": "dark"}
_MODELS_CONFIG = """
- {model: acme/poet, memory: 2GiB}
- {model: acme/endless, aliases: [default-chat], memory: 3GiB}
- {model: acme/slow, memory: 2GiB}
- {model: acme/broken, memory: 1GiB}
"""
_NEVER = 600  # seconds, longer than this takes


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with browsing() as browser:
        _real(browser, folder)
        _made_up(browser, folder)


def _real(browser: Browser, folder: Path) -> None:
    with LoopbackHub() as hub, tempfile.TemporaryDirectory() as directory:
        harness = Harness(hub, Path(directory))
        harness.model("acme/poet")
        harness.model("acme/endless", **ENDLESS)
        harness.model("acme/slow", start_delay=_NEVER)
        harness.model("acme/broken", die_at_start=3, last_words="ValueError: no kernel")
        worker = harness.new_worker(
            MODELS_CONFIG=_MODELS_CONFIG, GPU_MEMORY_BUDGET="7GiB", MAX_LOADED_MODELS="4"
        )
        with worker, showing(browser, worker.url, viewport=_DESK) as board:
            board.wait("acme/poet", "not loaded")
            _take(board, folder / "idle.png")
            board.ask("acme/poet")
            board.answer("I am acme/poet")
            board.ask_again("acme/broken")
            board.wait("acme/broken", "start failed")
            with showing(browser, worker.url, viewport=_DESK) as other:
                other.ask("default-chat")
                other.answer("I")
                board.ask_again("acme/slow")
                board.wait("acme/slow", "starting")
                _take(board, folder / "full.png")
                harness.journal.kill_engine("acme/endless")
                board.wait("default-chat", "crashed")
                _take(board, folder / "crash.png")


def _made_up(browser: Browser, folder: Path) -> None:
    with pretending() as (url, _):
        screens = {
            "light": _WHOLE,
            "dark": {**_WHOLE, "color_scheme": "dark"},
            "phone": {"viewport": PHONE},
        }
        for name, options in screens.items():
            with showing(browser, url, **options) as board:
                board.row("default-chat").wait_for()
                board.page.locator("#requests tr").first.wait_for()
                _take(board, folder / f"page-{name}.png")
        with showing(browser, url, **_DARK) as board:
            board.page.get_by_role("button", name=LLAMA.key.repo_id, exact=True).click()
            board.page.get_by_role("log").get_by_text("ready to roll").wait_for()
            _take(board, folder / "page-details.png")


def _take(board: Board, file: Path) -> None:
    board.page.screenshot(path=file, animations="disabled")
    print(file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
