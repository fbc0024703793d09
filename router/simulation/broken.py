"""Assertions about a simulated world, for any scheduler."""

from __future__ import annotations


class BrokenRule(RuntimeError):
    """The scheduler has broken a rule of the machine, or the simulation has a defect."""


def must(holds: bool, otherwise: str) -> None:  # noqa: FBT001  reads as an assertion
    """Raise `BrokenRule` with the text `otherwise` unless `holds`."""
    if not holds:
        raise BrokenRule(otherwise)
