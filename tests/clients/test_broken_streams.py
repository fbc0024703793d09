"""How JavaScript clients handle an engine that dies in the middle of its answer.

`tests/http/test_clients.py` tests the Python clients.
"""

from __future__ import annotations

from tests.clients.harness import needs_node
from tests.clients.programs import prints
from tests.http.test_clients import CHUNK, CREATED, DIES_MIDWAY, failing

WHY = "stopped in the middle"

pytestmark = needs_node


async def test_openais_client_raises_the_error_of_a_chat() -> None:
    async with failing(DIES_MIDWAY, CHUNK) as (url, _):
        first, error = await prints("openai_stream.mjs", url, "chat")
    assert first == "hi"
    assert error.startswith("APIError engine_failed ")
    assert WHY in error


async def test_openais_client_raises_the_error_of_a_response() -> None:
    async with failing(DIES_MIDWAY, CREATED) as (url, _):
        first, error = await prints("openai_stream.mjs", url, "responses")
    assert first == "response.created"
    assert error.startswith("APIError engine_failed ")
    assert WHY in error


async def test_vercels_ai_sdk_passes_the_error_on() -> None:
    async with failing(DIES_MIDWAY, CHUNK) as (url, _):
        first, error = await prints("ai_sdk_stream.mjs", url)
    assert first == "hi"
    assert WHY in error
