"""One line of `doctor`'s output."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    OK = "ok"
    WARNING = "warning"  # it works, perhaps not as you want
    PROBLEM = "problem"  # the worker does not start, or serves nothing


@dataclass(frozen=True, slots=True)
class ExamLine:
    """`remedy`: what to do about it, or "" if there is nothing to do."""

    topic: str
    grade: Grade
    text: str
    remedy: str = ""


def ok(topic: str, text: str) -> ExamLine:
    return ExamLine(topic, Grade.OK, text)


def warning(topic: str, text: str, remedy: str) -> ExamLine:
    return ExamLine(topic, Grade.WARNING, text, remedy)


def problem(topic: str, text: str, remedy: str) -> ExamLine:
    return ExamLine(topic, Grade.PROBLEM, text, remedy)
