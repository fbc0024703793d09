"""How more clients retry when an engine dies or asks them to wait.

`tests/http/test_client_retries.py` and `test_clients.py` there test the Python clients.
"""

from __future__ import annotations

import sys

from tests.clients.harness import Served, needs_node, printed
from tests.clients.programs import PROGRAMS, prints
from tests.doubles import Answer
from tests.http.test_client_retries import CHAT
from tests.http.test_clients import listening
from tests.requests.harness import serving_fakes

PATIENT = [
    *(Answer(status=status, headers={"retry-after": "1"}) for status in (429, 503)),
    Answer((CHAT,), headers={"content-type": "application/json"}),
]
DIES = Answer((b"",), lost_after=0)


async def told(program: str, *answers: Answer) -> tuple[list[str], int]:
    """Run a program with a worker whose engine gives these answers. Returns the output, and the
    number of answers used."""
    async with serving_fakes(*answers) as d, listening(d) as url:
        return await prints(program, url), len(d.upstream.sent)


@needs_node
async def test_openais_client_for_javascript_comes_back_when_it_is_told() -> None:
    assert await told("openai_chat.mjs", *PATIENT) == (["hi"], 3)


@needs_node
async def test_vercels_ai_sdk_comes_back_when_it_is_told() -> None:
    assert await told("ai_sdk_chat.mjs", *PATIENT) == (["hi"], 3)


@needs_node
async def test_openais_client_for_javascript_repeats_no_request_that_killed_its_engine() -> (
    None
):
    lines, asked = await told("openai_chat.mjs", DIES)
    assert lines == ["InternalServerError engine_failed"]
    assert asked == 2  # only the router retried


def test_no_client_that_is_built_on_openais_repeats_it_either(served: Served) -> None:
    harness, names = served.harness, ("acme/fatal", "acme/deadly")
    models = [harness.model(name, die_before_answer=True) for name in names]
    program = [sys.executable, str(PROGRAMS / "langchain_and_litellm.py")]
    environ = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    lines = printed([*program, f"{served.url}/v1", served.key, *models], environ)
    assert lines == ["langchain OpenAIAPIError", "litellm BadGatewayError"]
    assert [len(harness.journal.events("request", model)) for model in models] == [2, 2]
