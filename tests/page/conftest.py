"""One browser for all modules, one Hub per module, and one page per test.

Playwright keeps a loop in the tests' thread while a browser is open, so no test of another
folder can run meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.e2e.conftest import harness, pytest_runtest_makereport
from tests.page.rig import PROGRAM, Board, browsing, showing
from tests.worker import Worker

__all__ = ["harness", "pytest_runtest_makereport"]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if PROGRAM is None:
        pytest.skip("there is no Chromium")
    with browsing() as browser:
        yield browser


@pytest.fixture
def board(browser: Browser, worker: Worker) -> Iterator[Board]:
    with showing(browser, worker.url) as board:
        yield board
