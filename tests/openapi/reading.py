"""The document, and its schemas with everything they refer to."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from router.openapi.document import document

Json = dict[str, Any]

DOCUMENT: Json = document()
_URI = "urn:document"
_REGISTRY: Registry[Any] = Registry().with_resource(_URI, DRAFT202012.create_resource(DOCUMENT))


def at(pointer: str) -> Any:
    """The target of a reference within the document."""
    found: Any = DOCUMENT
    for key in pointer.removeprefix("#/").split("/"):
        found = found[key.replace("~1", "/").replace("~0", "~")]
    return found


def validator(schema: Json, kind: type[Validator] = Draft202012Validator) -> Validator:
    """A validator for `schema`, whose references point into the document."""
    return kind(_absolute(schema), registry=_REGISTRY)


def request_of(path: str) -> Json:
    """The content of a request: its schema and its example."""
    content: Json = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]
    return dict(content["application/json"])


def properties_of(path: str) -> Json:
    return dict(at(request_of(path)["schema"]["$ref"])["properties"])


def _absolute(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _URI + inner if key == "$ref" else _absolute(inner)
            for key, inner in value.items()
        }
    return [_absolute(one) for one in value] if isinstance(value, list) else value
