from __future__ import annotations

import ast
from textwrap import dedent

import pytest

from tests.guards import mutations
from tests.guards.mutations import Mutation, MutationFailed
from tests.guards.places import definitions

SOURCE = """
    LIMIT = 3
    NAMES = frozenset({"a", "b"})

    class Door:
        def __init__(self):
            self.open = False

        async def enter(self, caller, *, key=None):
            '''Let a caller in.'''
            if caller.banned and not key:
                raise Refused(caller)
            elif len(caller.name) > LIMIT:
                log("too long: %s", caller)
            async with self.lock:
                log(caller)
                return await self.ask(min(caller.age, LIMIT), follow=False)
"""


def mutated(mutation: Mutation, name: str = "Door.enter") -> str:
    tree = ast.parse(dedent(SOURCE))
    (place,) = [spot for found, spot in definitions(tree) if found == name]
    mutation.apply(place)
    changed = ast.unparse(ast.fix_missing_locations(tree))
    compile(changed, "changed", "exec")
    return changed


@pytest.mark.parametrize(
    ("mutation", "expected"),
    [
        (mutations.never("banned"), "if (caller.banned and (not key)) and False:"),
        (mutations.always("LIMIT"), "elif len(caller.name) > LIMIT or True:"),
        (mutations.drop("raise"), "(not key):\n            pass\n"),
        (mutations.drop("log").nth(2, of=2), "self.lock:\n            pass\n"),
        (mutations.insert("caller = None"), "key=None):\n        caller = None\n"),
        (mutations.insert("return", before="ask"), "return\n            return await self.ask"),
        (mutations.unwrap("lock"), "\n        log(caller)\n        return await"),
        (mutations.without("key"), "if caller.banned:"),
        (mutations.swap("min(_1, LIMIT)", "_1"), "self.ask(caller.age, follow=False)"),
        (mutations.swap("_.banned", "False"), "if False and (not key):"),
        (mutations.set_to("follow", "True"), "LIMIT), follow=True)"),
        (mutations.text("too long", "short"), "log('short: %s', caller)"),
        (mutations.body("return 7"), "key=None):\n        return 7"),
    ],
    ids=lambda value: value.what if isinstance(value, Mutation) else "",
)
def test_a_mutation_changes_one_place_of_a_function(mutation: Mutation, expected: str) -> None:
    assert expected in mutated(mutation)


def test_a_constant_gets_another_value() -> None:
    assert "LIMIT = 4\n" in mutated(mutations.value("4"), "LIMIT")


def test_a_literal_loses_an_element() -> None:
    assert "frozenset({'b'})" in mutated(mutations.without("a"), "NAMES")


def test_a_dict_entry_gets_another_value() -> None:
    tree = ast.parse("LIMITS = {'size': 1, 'time': 2}")
    ((_, place),) = definitions(tree)
    mutations.set_to("time", "9").apply(place)
    assert ast.unparse(tree) == "LIMITS = {'size': 1, 'time': 9}"


def test_an_operand_of_arithmetic_is_left_out() -> None:
    tree = ast.parse("LEFT = found - shared - before")
    ((_, place),) = definitions(tree)
    mutations.without("shared").apply(place)
    assert ast.unparse(tree) == "LEFT = found - before"


def test_a_filter_of_a_comprehension_is_left_out() -> None:
    tree = ast.parse("LEFT = [name for name, seen in found if name if seen]")
    ((_, place),) = definitions(tree)
    mutations.without("seen").apply(place)
    assert ast.unparse(tree) == "LEFT = [name for name, seen in found if name]"


def test_a_function_is_taken_away() -> None:
    assert "def __init__" not in mutated(mutations.absent(), "Door.__init__")


def test_the_same_wildcard_stands_for_the_same_code() -> None:
    tree = ast.parse("RESULT = [max(a, b), max(c, c)]")
    ((_, place),) = definitions(tree)
    mutations.swap("max(_1, _1)", "_1").apply(place)
    assert ast.unparse(tree) == "RESULT = [max(a, b), c]"


@pytest.mark.parametrize("mutation", [mutations.drop("log"), mutations.never("absent")])
def test_a_place_that_is_not_found_exactly_once_is_refused(mutation: Mutation) -> None:
    with pytest.raises(MutationFailed, match=r"fits [02] times, not 1"):
        mutated(mutation)
