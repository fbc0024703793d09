"""Ways to change a function or a constant so that it no longer keeps its promise.

Each finds its place by words: identifiers or constants in the code there. Give just enough
words to tell the place from the rest of the function. Source text is never matched.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from tests.guards.spots import Fill, Spot, free_names, match, spots, words

Edit = Callable[[], None]

_REMOVABLE = {
    (ast.BoolOp, "values"),
    (ast.Set, "elts"),
    (ast.List, "elts"),
    (ast.Tuple, "elts"),
    (ast.comprehension, "ifs"),
}


class MutationFailed(Exception):
    """The place for a mutation was not found, or was found too often."""


@dataclass(frozen=True, slots=True)
class Mutation:
    what: str  # for messages
    edits: Callable[[Spot], Iterable[Edit]]  # one for each possible place
    needs: frozenset[str] = field(default=frozenset())  # names that the new code reads
    which: int = 1
    of: int = 1

    def nth(self, which: int, *, of: int) -> Mutation:
        """The same mutation at place `which` (from 1) of the `of` places in the function."""
        return replace(self, which=which, of=of)

    def apply(self, place: Spot) -> None:
        """Change the tree. Raises `MutationFailed`."""
        edits = list(self.edits(place))
        if len(edits) != self.of:
            raise MutationFailed(f"{self.what} fits {len(edits)} times, not {self.of}")
        edits[self.which - 1]()


def never(*mentions: str) -> Mutation:
    """Evaluates the condition of an `if` (a statement, or `a if b else c`), then acts as if it
    were false."""
    return _condition("never", mentions, lambda test: _both(ast.And(), test, False))


def always(*mentions: str) -> Mutation:
    """Evaluates the condition of an `if`, then acts as if it were true."""
    return _condition("always", mentions, lambda test: _both(ast.Or(), test, True))


def drop(*mentions: str) -> Mutation:
    """Drops one simple statement. `return`, `raise` and `del` count as words."""
    return Mutation(
        _called("drop", mentions),
        lambda place: (
            _put(spot, ast.Pass())
            for spot in _statements(place.node)
            if words(spot.node) >= set(mentions)
        ),
    )


def insert(code: str, *, before: str | None = None) -> Mutation:
    """Inserts statements before the one that mentions `before`, or at the start of the
    function."""
    new = ast.parse(code)

    def edits(place: Spot) -> Iterator[Edit]:
        if before is None:
            assert isinstance(place.node, ast.FunctionDef | ast.AsyncFunctionDef)
            first = place.node.body[0]
            yield _put(Spot(place.node, "body", first, place.node.body), *new.body, first)  # type: ignore[arg-type]
            return
        for spot in _statements(place.node):
            if before in words(spot.node):
                yield _put(spot, *new.body, spot.node)

    return Mutation(f"insert({code!r}, before={before!r})", edits, _needs(new))


def unwrap(*mentions: str) -> Mutation:
    """Removes a `with`, but keeps its body."""

    def edits(place: Spot) -> Iterator[Edit]:
        for spot in spots(place.node):
            node = spot.node
            if isinstance(node, ast.With | ast.AsyncWith) and any(
                words(item) >= set(mentions) for item in node.items
            ):
                yield _put(spot, *node.body)

    return Mutation(_called("unwrap", mentions), edits)


def without(*mentions: str) -> Mutation:
    """Drops the smallest part that mentions the words: an operand of `and`, `or` or arithmetic,
    an element of a literal, or a filter of a comprehension."""

    def edits(place: Spot) -> Iterator[Edit]:
        parts = [part for part in _parts(place.node) if words(part[0]) >= set(mentions)]
        for node, edit in parts:
            inside = set(ast.walk(node)) - {node}
            if not any(other in inside for other, _ in parts):
                yield edit

    return Mutation(_called("without", mentions), edits)


def swap(pattern: str, new: str) -> Mutation:
    """Replaces an expression. In `pattern`, `_` matches anything. `_1`, `_2` ... match anything
    too, and can be used in `new`."""
    looks, becomes = _expression(pattern), _expression(new)

    def edits(place: Spot) -> Iterator[Edit]:
        for spot in spots(place.node):
            bound: dict[str, ast.AST] = {}
            if match(looks, spot.node, bound):
                yield _put(spot, Fill(bound).visit(copy.deepcopy(becomes)))

    return Mutation(f"swap({pattern!r}, {new!r})", edits, _needs(becomes))


def set_to(name: str, value: str) -> Mutation:
    """Gives a keyword argument, or an entry of a dict literal, another value."""
    new = _expression(value)

    def edits(place: Spot) -> Iterator[Edit]:
        for spot in spots(place.node):
            node = spot.node
            if isinstance(node, ast.keyword) and node.arg == name:
                yield _put(Spot(node, "value", node.value), new)
            if isinstance(node, ast.Dict):
                for key, old in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == name:
                        yield _put(Spot(node, "values", old, node.values), new)  # type: ignore[arg-type]

    return Mutation(f"set_to({name!r}, {value!r})", edits, _needs(new))


def text(old: str, new: str) -> Mutation:
    """Replaces a part of a string constant, for example of a regular expression."""

    def edits(place: Spot) -> Iterator[Edit]:
        for spot in spots(place.node):
            found = spot.node.value if isinstance(spot.node, ast.Constant) else None
            if isinstance(found, str) and found.count(old) == 1:
                yield _put(spot, ast.Constant(found.replace(old, new)))

    return Mutation(f"text({old!r}, {new!r})", edits)


def value(new: str) -> Mutation:
    """Gives a constant another value."""
    becomes = _expression(new)

    def edits(place: Spot) -> Iterator[Edit]:
        if isinstance(place.node, ast.Assign | ast.AnnAssign) and place.node.value:
            yield _put(Spot(place.node, "value", place.node.value), becomes)

    return Mutation(f"value({new!r})", edits, _needs(becomes))


def body(code: str) -> Mutation:
    """Replaces the whole body of a function."""
    new = ast.parse(code)

    def edits(place: Spot) -> Iterator[Edit]:
        node = place.node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield lambda: setattr(node, "body", new.body)

    return Mutation(f"body({code!r})", edits, _needs(new))


def absent() -> Mutation:
    """Removes the function. If it overrides another one, that one is used."""
    return Mutation("absent()", lambda place: [_put(place, ast.Pass())])


def _condition(
    what: str, mentions: tuple[str, ...], change: Callable[[ast.expr], ast.expr]
) -> Mutation:
    def edits(place: Spot) -> Iterator[Edit]:
        for spot in spots(place.node):
            node = spot.node
            if isinstance(node, ast.If | ast.IfExp) and words(node.test) >= set(mentions):
                yield _put(Spot(node, "test", node.test), change(node.test))

    return Mutation(_called(what, mentions), edits)


def _both(operator: ast.boolop, test: ast.expr, answer: bool) -> ast.expr:
    return ast.BoolOp(operator, [test, ast.Constant(answer)])


def _statements(scope: ast.AST) -> Iterator[Spot]:
    for spot in spots(scope):
        if isinstance(spot.node, ast.stmt) and not hasattr(spot.node, "body"):
            yield spot


def _parts(scope: ast.AST) -> Iterator[tuple[ast.AST, Edit]]:
    for spot in spots(scope):
        read = isinstance(getattr(spot.owner, "ctx", None), ast.Load | None)
        if read and (type(spot.owner), spot.field) in _REMOVABLE:
            yield spot.node, _put(spot)
        if isinstance(spot.node, ast.BinOp):
            yield spot.node.right, _put(spot, spot.node.left)


def _called(what: str, mentions: Iterable[str]) -> str:
    return f"{what}({', '.join(map(repr, mentions))})"


def _put(spot: Spot, *nodes: ast.AST) -> Edit:
    return lambda: spot.put(*nodes)


def _expression(code: str) -> ast.expr:
    return ast.parse(code, mode="eval").body


def _needs(code: ast.AST) -> frozenset[str]:
    return frozenset(free_names(code))
