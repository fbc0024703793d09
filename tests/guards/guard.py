"""One guard, an entry in the tables of this package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.guards.mutations import Mutation
from tests.guards.places import Place


@dataclass(frozen=True, slots=True)
class Guard:
    promise: str  # the threat model's words, shortened
    place: str  # "module:function" that keeps the promise
    mutation: Mutation  # removes the guard
    test: str  # pytest's name of a test that passes with the guard and fails without it

    @property
    def file(self) -> str:
        """The path from the root of the repository."""
        return Place.of(self.place).file

    def mutant(self, root: Path) -> str:
        """The module's source without the guard. Raises `MutationFailed`."""
        return Place.of(self.place).mutant(root, self.mutation)
