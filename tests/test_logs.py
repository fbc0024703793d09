from __future__ import annotations

import io
import json
import logging
import re
import secrets
import string
import time
import unicodedata
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.logs import RedactionFilter, Redactor, configure, one_line, redact
from router.secrets import Secret

ALNUM = string.ascii_letters + string.digits
hf_tokens = st.text(st.sampled_from(ALNUM), min_size=16, max_size=60).map("hf_{}".format)
opaque = st.text(st.sampled_from(ALNUM + "_.-"), min_size=8, max_size=60).filter(
    lambda text: text.strip("_.-") == text
)
# The text before and after a secret, with brackets, quotes and escapes.
around = st.text(
    st.sampled_from("ab _=:,;?&%\"'\\()[]{}<>/.\n\t\u00e9"), max_size=12
) | st.text(max_size=12)

Shape = Callable[[logging.Logger, str], None]


def as_message(log: logging.Logger, text: str) -> None:
    log.warning(text)


def as_one_argument(log: logging.Logger, text: str) -> None:
    log.warning("got %s and %d", text, 5)


def as_a_mapping(log: logging.Logger, text: str) -> None:
    log.warning("got %(what)s", {"what": text, "other": 5})


def in_a_repr(log: logging.Logger, text: str) -> None:
    log.warning("got %r", {"headers": [text]})


def as_bytes(log: logging.Logger, text: str) -> None:
    log.warning("got %s", text.encode(errors="surrogatepass"))


def as_header_pairs(log: logging.Logger, text: str) -> None:
    log.warning("headers=%r", [(b"a", b"b"), (b"x", text.encode(errors="surrogatepass"))])


def as_json(log: logging.Logger, text: str) -> None:
    log.warning(json.dumps({"a": json.dumps({"b": text})}))


def as_an_object(log: logging.Logger, text: str) -> None:
    log.warning(ValueError(text))


def with_arguments_that_do_not_fit(log: logging.Logger, text: str) -> None:
    log.warning("got %d and %d", text)  # noqa: PLE1206 - that is the test


def with_a_broken_format(log: logging.Logger, text: str) -> None:
    log.warning("got 100%", text)


def fail_with(text: str) -> None:
    raise ValueError(text)


def in_an_exception(log: logging.Logger, text: str) -> None:
    try:
        fail_with(text)
    except ValueError:
        log.exception("failed")


def in_the_cause_of_an_exception(log: logging.Logger, text: str) -> None:
    try:
        try:
            fail_with(text)
        except ValueError as error:
            raise RuntimeError("outer") from error
    except RuntimeError as error:
        log.warning("failed: %s", error, exc_info=error)


def in_a_group_and_a_note(log: logging.Logger, text: str) -> None:
    noted = KeyError("inner")
    noted.add_note(text)
    log.warning("failed", exc_info=ExceptionGroup("several", [noted, OSError(2, text)]))


SHAPES: list[Shape] = [
    as_message,
    as_one_argument,
    as_a_mapping,
    in_a_repr,
    as_bytes,
    as_header_pairs,
    as_json,
    as_an_object,
    with_arguments_that_do_not_fit,
    with_a_broken_format,
    in_an_exception,
    in_the_cause_of_an_exception,
    in_a_group_and_a_note,
]


class StrictHandler(logging.StreamHandler[io.StringIO]):
    """`logging` prints a record that fails, arguments and all, to stderr and goes on."""

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


@pytest.fixture
def loggers() -> Iterator[None]:
    """Restore the process's loggers."""
    root = logging.getLogger()
    names = ["httpx", "huggingface_hub", "huggingface_hub.sub", "aiohttp.access"]
    before = [
        (log, log.level, log.handlers[:]) for log in [root, *map(logging.getLogger, names)]
    ]
    yield
    for log, level, handlers in before:
        log.setLevel(level)
        log.handlers[:] = handlers


@pytest.mark.usefixtures("loggers")
def test_each_json_line_is_one_object() -> None:
    stream = io.StringIO()
    configure("DEBUG", "json", [Secret("s3cret-key")], stream)
    log = logging.getLogger("router.test")
    log.debug("two\nlines, %s", "s3cret-key")
    try:
        fail_with("wrong")
    except ValueError:
        log.exception("bad", stack_info=True)
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first["message"] == "two\nlines, ***"
    assert (first["level"], first["logger"]) == ("DEBUG", "router.test")
    assert first["time"].endswith("Z")
    assert "ValueError: wrong" in second["exception"]
    assert "test_logs" in second["stack"]


UNSAFE = (
    "\n\r\x0b\x0c\x1b\x00\x08\x7f\x85\x9b\xad\u061c\u200b"
    "\u2028\u2029\u202e\u2066\ufeff\ud800\U000e0041"
)
forged = st.text(st.sampled_from(UNSAFE + "a[31mé✓\t") | st.characters(), max_size=50)


@pytest.mark.parametrize("shape", SHAPES)
@given(text=forged)
def test_no_text_makes_a_line_of_its_own_or_hides_one(shape: Shape, text: str) -> None:
    written = formatted("text", shape, f"{text}\n2026-01-31T12:00:00.000Z CRITICAL x: forged")
    first, *more = written.removesuffix("\n").split("\n")
    assert re.match(r"[\dT:.-]+Z WARNING|[\dT:.-]+Z ERROR", first)
    assert all(line.startswith("  | ") for line in more)
    assert not {*written} & {*UNSAFE.replace("\n", "")}
    categories = {unicodedata.category(mark) for mark in {*written} - {*"\n\t"}}
    assert not categories & {"Cc", "Cs", "Zl", "Zp"}
    written.encode()


@pytest.mark.parametrize("shape", SHAPES)
@given(text=forged)
def test_no_text_leaves_its_json_object(shape: Shape, text: str) -> None:
    written = formatted("json", shape, text)
    assert written.isascii()
    assert written.removesuffix("\n").isprintable()
    assert {"time", "level", "logger", "message"} <= json.loads(written).keys()


def formatted(form: str, shape: Shape, text: str) -> str:
    """The output of the handler that `configure` makes."""
    stream = io.StringIO()
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    try:
        configure("INFO", form, [], stream)
        (handler,) = root.handlers
    finally:
        root.level, root.handlers[:] = before
    log = logging.Logger("test")  # noqa: LOG001 - outside the tree of loggers
    log.addHandler(handler)
    shape(log, text)
    return stream.getvalue()


def test_ordinary_text_of_any_language_stays_as_it_is() -> None:
    text = "org/模型-ß\té ✓ \\n"
    assert one_line(text) == text


def test_what_is_escaped_can_be_read() -> None:
    assert one_line("a\n\x1b[31m\x9b\u202e\ud800\U000e0041") == (
        r"a\n\x1b[31m\x9b\u202e\ud800\U000e0041"
    )


@pytest.mark.usefixtures("loggers")
def test_text_lines_have_time_level_and_name() -> None:
    stream = io.StringIO()
    configure("INFO", "text", [], stream)
    logging.getLogger("router.test").info("hello")
    logging.getLogger("router.test").debug("not this")
    assert stream.getvalue().endswith("Z INFO    router.test: hello\n")


@pytest.mark.usefixtures("loggers")
def test_the_http_clients_stay_quiet_even_at_debug_and_have_no_handler_of_their_own() -> None:
    own = io.StringIO()
    logging.getLogger("huggingface_hub").addHandler(logging.StreamHandler(own))
    stream = io.StringIO()
    configure("DEBUG", "text", [], stream)
    token = "hf_" + secrets.token_hex(16)
    logging.getLogger("httpx").info("GET https://cdn.test/?X-Amz-Signature=1")
    logging.getLogger("aiohttp.access").info("GET /?q")
    logging.getLogger("huggingface_hub.sub").warning("bad token %s", token)
    assert own.getvalue() == ""
    assert stream.getvalue().endswith("huggingface_hub.sub: bad token ***\n")
    assert stream.getvalue().count("\n") == 1


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
