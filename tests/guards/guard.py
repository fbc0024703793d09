"""One guard, as the tables beside this file list them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Guard:
    promise: str  # in the words of the threat model, short
    file: str  # from the root of the repository
    guard: str  # the text that keeps it; stands exactly once in the file
    mutant: str  # what is put in its place
    test: str  # pytest's name of a test that passes with the guard and fails without
