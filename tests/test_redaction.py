from __future__ import annotations

import io
import json
import logging
import secrets
import string
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.redaction import RedactionFilter, Redactor, redact
from router.secrets import Secret
from tests.log_calls import SHAPES, Shape

ALNUM = string.ascii_letters + string.digits
hf_tokens = st.text(st.sampled_from(ALNUM), min_size=16, max_size=60).map("hf_{}".format)
opaque = st.text(st.sampled_from(ALNUM + "_.-"), min_size=8, max_size=60).filter(
    lambda text: text.strip("_.-") == text
)
# The text before and after a secret, with brackets, quotes and escapes.
around = st.text(
    st.sampled_from("ab _=:,;?&%\"'\\()[]{}<>/.\n\t\u00e9"), max_size=12
) | st.text(max_size=12)


class StrictHandler(logging.StreamHandler[io.StringIO]):
    """`logging` prints a failing record, with its arguments, to stderr and continues."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base class's
        raise AssertionError("a record could not be written")


def logged(shape: Shape, text: str, *known: str) -> str:
    """The output of a handler with the filter for one log call."""
    stream = io.StringIO()
    handler = StrictHandler(stream)
    handler.addFilter(RedactionFilter(Redactor(map(Secret, known))))
    log = logging.Logger("test")  # noqa: LOG001 - outside the tree of loggers
    log.addHandler(handler)
    shape(log, text)
    return stream.getvalue()


@pytest.mark.parametrize("shape", SHAPES)
@given(token=hf_tokens, before=around, after=around)
def test_a_hub_token_is_redacted_from_every_record(
    shape: Shape, token: str, before: str, after: str
) -> None:
    written = logged(shape, before + token + after)
    assert token not in written
    assert written


@pytest.mark.parametrize("shape", SHAPES)
@given(key=opaque, before=around, after=around)
def test_a_known_secret_is_redacted_from_every_record(
    shape: Shape, key: str, before: str, after: str
) -> None:
    template = logged(shape, before + "\ufffc" + after)
    if key in template:  # part of the test's own text
        return
    assert key not in logged(shape, before + key + after, key)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "context",
    [
        "Bearer {}",
        "bearer  {}",
        "Authorization: Bearer {}",
        "authorization={}",
        "Authorization: Basic {}==",
        "X-HF-Token: {}",
        "hf_token={}",
        "HF_TOKEN={}",
        "HUGGING_FACE_HUB_TOKEN={}",
        '{{"hf_token": "{}", "model": "org/name"}}',
        "{{'token': '{}'}}",
        "token='{}'",
        "[(b'x-hf-token', b'{}')]",
        "[(b'authorization', b'Basic {}')]",
        "api_key: {}",
        "x-api-key: {}",
        "https://cdn.test/f?X-Amz-Algorithm=a&X-Amz-Signature={}&x-id=GetObject",
        "https://cdn.test/f?Expires=1&Policy=p&Signature={}&Key-Pair-Id=k",
        "https://cdn.test/f?x=1&Signature={}",
        "part=1&Signature={}",
        "X-Xet-Signature={}",
        "/redirect?to=https%3A%2F%2Fcdn.test%2Ff%3FSignature%3D{}",
    ],
)
@given(secret=opaque)
@settings(max_examples=10)
def test_a_secret_in_its_usual_place_is_redacted_from_every_record(
    shape: Shape, context: str, secret: str
) -> None:
    if secret in logged(shape, context.format("\ufffc")):
        return
    assert secret not in logged(shape, context.format(secret))


@given(st.text() | st.builds("{}{}{}".format, around, hf_tokens, around))
def test_redacting_twice_changes_nothing(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "Decode batch. #running-req: 1, #token: 35, token usage: 0.00, gen (token/s): 3.1",
        "engine org/name@abcdef012345 ready in 12.3 s on port 41233",
        "huggingface_hub hf_hub_download hf_transfer HF_HUB_OFFLINE=1",
        "max_tokens=5, prompt_tokens: 12, completion_tokens=7",
        "GET /v1/models?limit=5 200",
        "Policy: LRU, key=org/name",
        "no API_KEYS: anyone may call",
    ],
)
def test_an_ordinary_line_is_not_changed(text: str) -> None:
    assert redact(text) == text


def test_the_text_around_a_secret_is_not_changed() -> None:
    token = "hf_" + secrets.token_hex(16)
    assert redact(f"the Hub refused {token} for org/name") == "the Hub refused *** for org/name"
    assert redact("GET https://cdn.test/a/b?X-Amz-Signature=ab12 200") == (
        "GET https://cdn.test/a/b?*** 200"
    )
    assert redact('{"hf_token": "abcdefgh", "n": 1}') == '{"hf_token": "***", "n": 1}'


def test_a_known_secret_is_found_in_its_escaped_forms() -> None:
    secret = "p@ss 'w\"ord'/+\\é"
    clean = Redactor([Secret(secret), Secret("p@ss")])
    for text in (
        secret,
        json.dumps(secret),
        repr(secret),
        "x=p%40ss%20%27w%22ord%27%2F%2B%5C%C3%A9",
    ):
        assert "ord" not in clean(text)


def test_a_clean_record_keeps_its_arguments_and_its_exception() -> None:
    error = ValueError("plain")
    info = (ValueError, error, None)
    for args in (("a", 5), ({"a": 1},)):
        record = logging.LogRecord("n", logging.INFO, "f", 1, "%s", args[:1], info)
        before = record.args
        assert RedactionFilter(Redactor()).filter(record)
        assert record.args is before
        assert record.exc_info is info


def test_the_stack_is_redacted_too() -> None:
    token = "hf_" + secrets.token_hex(16)
    record = logging.LogRecord("n", logging.INFO, "f", 1, "m", (), None, sinfo=f"at {token}")
    assert RedactionFilter(Redactor()).filter(record)
    assert record.stack_info == "at ***"


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("hf_" + "b" * 20)

    __repr__ = __str__


def test_a_record_that_can_not_be_redacted_is_left_out() -> None:
    assert "could not be redacted: RuntimeError" in logged(
        lambda log, _: log.warning("%s", Unprintable()), ""
    )


@pytest.mark.parametrize(
    "unit",
    [
        *("?", "bearer ", "token ", "eyJ", "eyJaaaaaaaa.", "hf_", "\\", "?x-amz-", "X-Amz-"),
        *("authorization", "authorization ", 'token\\"', "api_key", " ", "'", "hf_token = "),
        "&sig",
    ],
)
def test_no_text_takes_long_to_redact(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    started = time.process_time()
    redact(f"token hf_ ? {text}")
    assert time.process_time() - started < 1


def test_a_secret_that_is_learned_later_is_redacted_like_the_first() -> None:
    first, later = "the-first-of-all", "the-first-of-all-and-more"
    clean = Redactor([Secret(first)])
    clean.learn([Secret(later)])
    assert clean(f"{first}, {later}.") == "***, ***."
