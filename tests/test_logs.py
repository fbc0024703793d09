from __future__ import annotations

import io
import json
import logging
import re
import secrets
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.logs import configure, one_line
from router.secrets import Secret
from tests.log_calls import SHAPES, Shape, fail_with


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
