"""Finds a function, a method or a constant in the sources by its qualified name."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.guards.mutations import Mutation, MutationFailed
from tests.guards.spots import Spot, words

_SOURCES = ("router", "engines")


@dataclass(frozen=True, slots=True)
class Place:
    """For example `router.hub.cache:CachedHub.entitle`; `outer.inner` is a function in a
    function."""

    module: str
    name: str

    @classmethod
    def of(cls, text: str) -> Place:
        return cls(*text.split(":"))

    @property
    def file(self) -> str:
        """The path from the root of the repository."""
        return self.module.replace(".", "/") + ".py"

    def mutant(self, root: Path, mutation: Mutation) -> str:
        """The whole module with the mutation. Raises `MutationFailed` with a hint what to
        fix."""
        file = root / self.file
        if not file.is_file():
            raise MutationFailed(f"{self.file} is not there.{self._elsewhere(root)}")
        tree = ast.parse(file.read_text())
        before, known = ast.unparse(tree), words(tree) | set(dir(builtins))
        mutation.apply(self._find(tree, root))
        after = ast.unparse(ast.fix_missing_locations(tree))
        if unknown := mutation.needs - known:
            raise MutationFailed(f"{mutation.what}: nothing is called {sorted(unknown)} there")
        if after == before:
            raise MutationFailed(f"{mutation.what} changes nothing")
        compile(after, self.file, "exec")
        return after

    def _find(self, tree: ast.Module, root: Path) -> Spot:
        found = [spot for name, spot in definitions(tree) if name == self.name]
        if len(found) == 1:
            return found[0]
        raise MutationFailed(
            f"{self.module} has {len(found)} times {self.name}.{self._elsewhere(root)}"
        )

    def _elsewhere(self, root: Path) -> str:
        """A hint where a definition of this name is now, if anywhere."""
        last = self.name.rpartition(".")[2]
        files = [file for source in _SOURCES for file in sorted((root / source).rglob("*.py"))]
        places = [
            f"{'.'.join(file.relative_to(root).with_suffix('').parts)}:{name}"
            for file in files
            for name, _ in definitions(ast.parse(file.read_text()))
            if name.rpartition(".")[2] == last
        ]
        return f" Has it become {' or '.join(places)}?" if places else ""


def definitions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, Spot]]:
    """Yield each function, class and constant with its qualified name."""
    for field in ("body", "orelse", "handlers", "finalbody"):
        statements = getattr(tree, field, [])
        for node in statements if isinstance(statements, list) else []:
            name = _name(node)
            inner = prefix
            if name is not None:
                yield prefix + name, Spot(tree, field, node, statements)
                inner = prefix + name + "."
            yield from definitions(node, inner)


def _name(node: ast.AST) -> str | None:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return node.name
    if isinstance(node, ast.Assign | ast.AnnAssign):
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        return target.id if isinstance(target, ast.Name) else None
    return None
