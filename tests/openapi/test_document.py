"""The document says exactly what the router's own tables say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from router import __version__, errors
from router.openapi import problems
from router.openapi.document import PATH, Document
from router.openapi.passed import PASSED
from router.requests.bounds import BOUNDS, SOURCE
from router.requests.call import parse
from router.requests.dialects import ANTHROPIC
from router.requests.fields import DROPPED, GENERATE, REFUSED
from router.requests.routes import ROUTES
from tests.openapi.reading import DOCUMENT, Json, at, properties_of, request_of, validator
from tests.requests.test_bounds import NUMBERS_OF
from tests.sglang_source import fields_of

OWN = {"model", "hf_token", "stream"}
READ = {"/v1/models", "/v1/models/{model}", "/ping", "/health", PATH}


def contents(value: Any) -> Iterator[Json]:
    """Everything with a schema and an example for it."""
    if isinstance(value, dict):
        if "schema" in value and "example" in value:
            yield value
        for inner in value.values():
            yield from contents(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from contents(inner)


def test_it_is_valid_openapi() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_its_examples_are_valid_by_its_schemas() -> None:
    found = list(contents(DOCUMENT))
    assert len(found) > 2 * len(ROUTES)
    for one in found:
        validator(one["schema"]).validate(one["example"])


@pytest.mark.parametrize("path", ROUTES)
def test_an_example_is_a_request_that_the_router_takes(path: str) -> None:
    assert parse(orjson.dumps(request_of(path)["example"]), ROUTES[path])


def test_it_has_the_version_of_the_package_and_names_no_model() -> None:
    assert DOCUMENT["info"]["version"] == __version__
    for path in ROUTES:
        assert "model" not in request_of(path)["example"]


def test_it_is_written_once() -> None:
    one = Document()
    assert one.written() is one.written()
    assert orjson.loads(one.written()) == DOCUMENT


# Drift


def test_every_route_is_in_it_and_nothing_else() -> None:
    assert DOCUMENT["paths"].keys() == ROUTES.keys() | READ
    for path, operations in DOCUMENT["paths"].items():
        assert operations.keys() == {"post" if path in ROUTES else "get"}


@pytest.mark.parametrize("path", ROUTES)
def test_every_field_of_the_tables_is_in_it_and_nothing_else(path: str) -> None:
    route = ROUTES[path]
    native = GENERATE if route.path == "/generate" else frozenset()
    known = OWN | DROPPED | REFUSED.keys() | BOUNDS[route.path].keys() | native
    found = properties_of(path)
    assert found.keys() - PASSED[route.path].keys() == known - PASSED[route.path].keys()
    assert PASSED[route.path].keys() <= found.keys()
    assert not PASSED[route.path].keys() & (
        BOUNDS[route.path].keys() | DROPPED | REFUSED.keys()
    )


def test_every_bound_of_media_is_in_it() -> None:
    assert at("#/components/schemas/MediaSource")["properties"].keys() == SOURCE.keys() | {
        "url"
    }


@pytest.mark.parametrize("path", NUMBERS_OF)
def test_every_field_that_sglang_reads_is_in_it_and_no_field_that_it_does_not(
    path: str,
) -> None:
    fields = public_fields_of(*NUMBERS_OF[path])
    if path == "/generate":
        fields &= GENERATE
    assert fields - properties_of(path).keys() == set()
    assert PASSED[path].keys() - fields == set()


def test_every_error_of_the_tree_is_told_where_it_can_happen() -> None:
    codes = {one.code for one in problems.every()}
    assert {"internal_error", "queue_full", "answer_too_large"} < codes
    told = " ".join(one["description"] for one in at("#/components/responses").values())
    elsewhere = {errors.MethodNotAllowed.code, errors.AnswerTooLarge.code}
    assert {code for code in codes if f"`{code}`" not in told} == elsewhere


@pytest.mark.parametrize("path", ROUTES)
def test_an_error_has_the_form_of_its_route(path: str) -> None:
    responses = DOCUMENT["paths"][path]["post"]["responses"]
    for status in responses.keys() - {"200"}:
        schema = at(responses[status]["$ref"])["content"]["application/json"]["schema"]
        name = "AnthropicError" if ROUTES[path].dialect is ANTHROPIC else "Error"
        assert schema == {"$ref": f"#/components/schemas/{name}"}


def test_only_what_streams_answers_with_events() -> None:
    for path, route in ROUTES.items():
        content = DOCUMENT["paths"][path]["post"]["responses"]["200"]["content"]
        assert ("text/event-stream" in content) is route.streams


def public_fields_of(file: str, name: str) -> set[str]:
    """The fields of one of SGLang's classes."""
    return {field for field, _ in fields_of(file, name) if not field.startswith("_")}
