"""Checks a page with axe, for people who can't see or use no mouse."""

from __future__ import annotations

from importlib.resources import files

from playwright.sync_api import Page

from tests.page.rig import Board

_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def violations(page: Page, within: str) -> list[str]:
    """One line per violation: the rule, and the elements."""
    script = files("axe_playwright_python").joinpath("axe.min.js").read_text()
    if not page.evaluate("'axe' in window"):
        page.evaluate(script)
    found = page.evaluate(
        "([within, rules]) => axe.run(within, {runOnly: rules, resultTypes: ['violations']})",
        [within, _RULES],
    )
    return [
        f"{one['id']}: {[(node['target'], node['failureSummary']) for node in one['nodes']]}"
        for one in found["violations"]
    ]


def check(board: Board, within: str = "html") -> None:
    """Check that the page fits on the screen, and that axe finds nothing. `within`: a selector
    of the elements that are new since the last check, because the contrast of each text takes
    most of the time."""
    viewport = board.page.viewport_size
    assert viewport is not None
    assert board.width <= viewport["width"]
    found = violations(board.page, within)
    assert not found, found
