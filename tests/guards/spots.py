"""A place of a node in its tree, the words in it, and pattern matching."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

_WILDCARD = re.compile(r"_\d*")
_NOT_CODE = {"annotation", "returns", "type_params"}
_KEYWORDS = {ast.Delete: "del", ast.Raise: "raise", ast.Return: "return"}


@dataclass(frozen=True, slots=True)
class Spot:
    """One node: `getattr(owner, field)`, or an element of that list."""

    owner: ast.AST
    field: str
    node: ast.AST
    list_of: list[ast.AST] | None = None

    def put(self, *nodes: ast.AST) -> None:
        """Replace the node by another one; in a list, by any number of nodes."""
        if self.list_of is None:
            (node,) = nodes
            setattr(self.owner, self.field, node)
        else:
            index = next(i for i, node in enumerate(self.list_of) if node is self.node)
            self.list_of[index : index + 1] = nodes


def spots(scope: ast.AST) -> Iterator[Spot]:
    """Every node below `scope`, outermost first, without annotations."""
    for field, value in ast.iter_fields(scope):
        if field in _NOT_CODE:
            continue
        if isinstance(value, ast.AST):
            yield Spot(scope, field, value)
            yield from spots(value)
        elif isinstance(value, list):
            for node in list(value):
                if isinstance(node, ast.AST):
                    yield Spot(scope, field, node, value)
                    yield from spots(node)


def words(code: ast.AST) -> set[str]:
    """The identifiers and constants in it, and the keyword of a `return`, `raise` or `del`."""
    found = {_KEYWORDS.get(type(code), "")}
    for node in ast.walk(code):
        for field in ("id", "attr", "arg", "name"):
            found.add(getattr(node, field, None) or "")
        if isinstance(node, ast.Constant):
            found.add(str(node.value))
    return found - {""}


def match(pattern: ast.AST, node: ast.AST, bound: dict[str, ast.AST]) -> bool:
    """Whether `node` matches `pattern`. There, `_` matches anything. `_1`, `_2` ... match
    anything and are stored in `bound`; a second `_1` must equal the first."""
    if isinstance(pattern, ast.Name) and _WILDCARD.fullmatch(pattern.id):
        if pattern.id == "_" or pattern.id not in bound:
            bound[pattern.id] = node
            return isinstance(node, ast.expr)
        return ast.unparse(bound[pattern.id]) == ast.unparse(node)
    if type(pattern) is not type(node):
        return False
    return all(
        _same(value, getattr(node, field), bound)
        for field, value in ast.iter_fields(pattern)
        if field not in {"ctx", "kind"}
    )


def _same(pattern: object, value: object, bound: dict[str, ast.AST]) -> bool:
    if isinstance(pattern, list) and isinstance(value, list):
        return len(pattern) == len(value) and all(
            _same(one, other, bound) for one, other in zip(pattern, value, strict=True)
        )
    if isinstance(pattern, ast.AST) and isinstance(value, ast.AST):
        return match(pattern, value, bound)
    return type(pattern) is type(value) and pattern == value


class Fill(ast.NodeTransformer):
    """Fills what `match` stored into a replacement."""

    def __init__(self, bound: dict[str, ast.AST]) -> None:
        self._bound = bound

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return self._bound.get(node.id, node)


def free_names(code: ast.AST) -> set[str]:
    """The names that `code` reads but does not define, without wildcards."""
    names = [node for node in ast.walk(code) if isinstance(node, ast.Name)]
    made = {name.id for name in names if isinstance(name.ctx, ast.Store)}
    return {name.id for name in names if not _WILDCARD.fullmatch(name.id)} - made
