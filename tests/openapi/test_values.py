"""For each field that the router judges, the document allows the values that the router
takes."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, TypeChecker, validators

from router.errors import InvalidHfToken, InvalidModelId, InvalidRequest
from router.openapi.contents import item
from router.openapi.values import admitted
from router.requests.bounds import BOUNDS
from router.requests.call import parse
from router.requests.fields import REFUSED
from router.requests.routes import ROUTES, Route
from tests.openapi.reading import Json, properties_of, request_of, validator
from tests.requests.test_bounds import VALUES

# Rules that a schema can't express. The document states them in words.
ONLY_IN_WORDS = (
    *("must be easier to follow", "must be JSON in a string", "without numbers beyond"),
    *("can't be combined with", "must be smaller for so long a prompt", "must be `data:"),
    *("values in all", "too many fields", "nested too deeply"),
)


def _is_boolean(checker: TypeChecker, value: object) -> bool:
    """The router and pydantic also accept 1 and 0, but nobody should send them."""
    return isinstance(value, int) and value in (0, 1)


RIVALS = ({"text", "input_ids"}, {"prompt", "messages"})  # only one of each may be present
LENIENT = validators.extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("boolean", _is_boolean),
)


def refusal(route: Route, body: Json) -> str:
    """The router's message; empty if it accepts the body."""
    try:
        parse(orjson.dumps(body), route)
    except (InvalidRequest, InvalidModelId, InvalidHfToken) as refused:
        return refused.message
    return ""


def bounds_in(schema: object) -> Iterator[int]:
    """Whole numbers just inside and outside the schema's limits."""
    if isinstance(schema, dict):
        for name, value in schema.items():
            if name in ("minimum", "maximum"):
                yield from (round(value) - 1, round(value), round(value) + 1)
            else:
                yield from bounds_in(value)
    elif isinstance(schema, list):
        for one in schema:
            yield from bounds_in(one)


ALWAYS = [True, False, 0, 1, -1, 1.5, "", "x", [], [""], ["x"], [[]], {}, [{}], {"x": 1}]


# Token ids as JSON writes them.
NAMES = ["0", "01", "0000000001", "2147483647", "2147483648", "00000000001", "-1", "1.0"]


def values_near(schema: Json) -> list[object]:
    """Values of every kind, and numbers close to the schema's limits in every place."""
    near = sorted({one for one in bounds_in(schema) if -(2**63) <= one < 2**64})
    inner = [
        {name: value}
        for name, one in schema.get("properties", {}).items()
        for value in values_near(one)
    ]
    lists: list[object] = [[one] for one in near]
    nested: list[object] = [[[one]] for one in near]
    by_id: list[object] = [{"1": one} for one in near]
    by_id += [{name: 0} for name in NAMES]
    return [*ALWAYS, *near, *lists, *nested, *by_id, *inner]


def fields_of(route: Route) -> list[str]:
    own = ["model", "hf_token", "stream", *(["cache_salt"] if route.salted else [])]
    return [*BOUNDS[route.path], *REFUSED, *own]


class Comparison:
    """Compares the document with the router, for the values of one route's fields."""

    def __init__(self, path: str) -> None:
        self._route, content = ROUTES[path], request_of(path)
        self._example: Json = content["example"]
        self._strict = validator(content["schema"])
        self._lenient = validator(content["schema"], LENIENT)
        self.taken = self.refused = 0

    def compare(self, field: str, value: object) -> None:
        path = self._route.path
        rivals = next((pair for pair in RIVALS if field in pair), ())
        body = {name: one for name, one in self._example.items() if name not in rivals}
        body[field] = value
        said = refusal(self._route, body)
        if self._strict.is_valid(body):
            assert not said or any(words in said for words in ONLY_IN_WORDS), (field, value)
            self.taken += 1
        elif item(path, field) is None and not self._lenient.is_valid(body):
            # The engine refuses an empty value where something is required.
            assert said or value in (None, []), (field, value)
            self.refused += 1


@pytest.mark.parametrize("path", BOUNDS)
def test_a_value_at_a_bound_is_admitted_where_the_router_takes_it(path: str) -> None:
    comparison, properties = Comparison(path), properties_of(path)
    for field in fields_of(ROUTES[path]):
        for value in values_near(properties[field]):
            comparison.compare(field, value)
    assert min(comparison.taken, comparison.refused) > 50


@pytest.mark.parametrize("path", BOUNDS)
def test_any_value_is_admitted_where_the_router_takes_it(path: str) -> None:
    comparison = Comparison(path)

    @settings(max_examples=100, derandomize=True)
    @given(st.sampled_from(fields_of(ROUTES[path])), VALUES)
    def compare(field: str, value: object) -> None:
        comparison.compare(field, value)

    compare()
    assert min(comparison.taken, comparison.refused) > 5


def test_a_kind_of_rule_without_a_schema_is_an_error() -> None:
    class New:
        def needs(self, value: object) -> int:
            return 0

    with pytest.raises(TypeError, match="New has no schema"):
        admitted(New())
