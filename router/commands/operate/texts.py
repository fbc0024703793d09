"""Formats times, sizes and causes for tables."""

from __future__ import annotations

from typing import Any

from router.commands.output import size_text

_SPANS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))
_LONGEST = 300  # characters of a cause


def span_text(seconds: float) -> str:
    """A duration, such as `3 min`."""
    for span, name in _SPANS:
        if seconds >= 2 * span:
            return f"{seconds / span:.0f} {name}"
    return f"{max(seconds, 0.0):.0f} s"


def share_text(part: int, whole: int) -> str:
    return f"{size_text(part)} of {size_text(whole)}"


def cause_text(text: str) -> str:
    """The end of a failure's text on one line, because the cause is at the end."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"... {line[-_LONGEST:]}"


def waiting_text(waiting: dict[str, Any]) -> str:
    """How many requests wait, for what, and how much longer."""
    if not waiting["requests"]:
        return ""
    told = [str(waiting["reason"]).replace("_", " ")] if waiting["reason"] else []
    told += filter(None, [rest_text(waiting)])
    return ": ".join(filter(None, (str(waiting["requests"]), ", ".join(told))))


def rest_text(waiting: dict[str, Any]) -> str:
    """The remaining time; if it is overdue, the elapsed and the expected time."""
    if waiting.get("overdue"):
        took, expected = waiting["elapsed_seconds"], waiting["expected_seconds"]
        return f"{span_text(took)}, expected {span_text(expected)}"
    if waiting["seconds"] is None:
        return ""
    guess = " (a guess)" if waiting.get("guessed") else ""
    return f"{span_text(waiting['seconds'])} to go{guess}"
