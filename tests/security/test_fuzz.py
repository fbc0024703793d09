"""Any input ends as a valid request, or as one of our errors."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from router.errors import RouterError
from router.models import ModelRef
from router.requests.call import caller_token, parse
from router.requests.request import Request
from router.requests.routes import ROUTES
from router.runpod.inputs import ListModels, read
from tests.doubles import whole
from tests.requests.test_call import json_values

MARK = "f00dface" * 4  # a refusal must not repeat this

_texts = st.text() | st.sampled_from([*ROUTES, "openai/v1/models", "/v1/models/../x", "a/b"])
_tokens = (
    st.builds("{}{}{}".format, st.text(max_size=3), st.just(MARK), st.text(max_size=3))
    | st.just("Bearer Bearer " + MARK)
    | st.just(MARK * 300)
    | st.lists(st.just(MARK))
    | st.dictionaries(st.just(MARK), st.just(MARK))
    | json_values
)
_bodies = st.fixed_dictionaries(
    {},
    optional={
        "model": _texts | json_values,
        "hf_token": _tokens,
        "stream": st.booleans() | json_values,
        "messages": json_values,
        "input": json_values,
        "text": json_values,
        "rid": json_values,
    },
)
_jobs = st.fixed_dictionaries(
    {},
    optional={
        "openai_route": _texts | json_values,
        "openai_input": _bodies | json_values,
        "route": _texts | json_values,
        "body": _bodies | json_values,
        "method": _texts | json_values,
        "model": _texts | json_values,
        "hf_token": _tokens,
        "prompt": json_values,
        "input_ids": json_values,
    },
)


def understood(act: Callable[[], None]) -> None:
    refusal: RouterError | None = None
    try:
        act()
    except RouterError as error:
        refusal = error
    assert MARK not in repr(refusal)


@given(_jobs | _bodies | json_values)
def test_any_job_is_understood_or_refused_without_its_token(content: object) -> None:
    def act() -> None:
        asked = read(content)
        if isinstance(asked, ListModels):
            caller_token(asked.hf_token, None)
            return
        assert isinstance(asked, Request)
        if (route := ROUTES.get(asked.route)) is None:
            return
        call = parse(whole(asked.body), route)
        assert MARK not in repr(call.route)
        assert MARK not in repr(caller_token(asked.hf_token, call.hf_token))
        if call.model is not None:
            ModelRef.parse(call.model)

    understood(act)


@given(_tokens, _tokens)
def test_any_token_is_taken_or_refused_and_never_shown(header: object, field: object) -> None:
    def act() -> None:
        token = caller_token(header if isinstance(header, str) else None, field)
        assert MARK not in repr(token)
        if token is not None:
            assert token.reveal().isascii()
            assert token.reveal().isprintable()
            assert " " not in token.reveal()

    understood(act)
