"""The OpenAPI document, generated from the tables that the router itself uses.

It names no model and is the same for every caller.
"""

from __future__ import annotations

import orjson

from router import __version__
from router.openapi import calls, contents, problems, reads
from router.openapi.values import Json

PATH = "/openapi.json"
_ABOUT = """\
A request names a Hugging Face model, and an SGLang engine that serves it answers. A field may
be null, which means that it is left out, unless it is required. Fields that are not listed go
to the engine as they are. What this document admits can still be refused with 400: by the
model's context or vocabulary, for fields that do not go together, or by the engine.
"""


def document() -> Json:
    """The whole document, as an object to serialize."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Multi-model router worker",
            "version": __version__,
            "summary": "One GPU worker, many models.",
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": {**calls.operations(), **reads.operations()},
        "components": {
            "schemas": {
                **problems.schemas(),
                **contents.schemas(),
                **calls.schemas(),
                **reads.schemas(),
            },
            "responses": problems.components(),
            "headers": problems.headers(),
            "parameters": reads.parameters(),
            "securitySchemes": {
                "ApiKey": {"type": "http", "scheme": "bearer"},
                "XApiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
        # Only where the operator has set keys; the document is the same everywhere.
        "security": [{"ApiKey": []}, {"XApiKey": []}, {}],
    }


class Document:
    """The serialized document, created at the first request for it."""

    def __init__(self) -> None:
        self._written: bytes | None = None

    def written(self) -> bytes:
        if self._written is None:
            self._written = orjson.dumps(document())
        return self._written
