"""All input from callers, engines, repositories and the operator is parsed in linear time.

Each parser reads an input that grows until it takes some CPU time of this thread. Four times
the bytes may take nine times as long, but not sixteen. The machine may be busy, so if one run
seems slow, the fastest of several runs counts.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import orjson
import pytest

from router.access.keyring import Keyring
from router.config import models_file, parsers
from router.config.errors import SettingsError
from router.config.patterns import Patterns
from router.errors import RouterError
from router.http.incoming import _PLAUSIBLE_ID
from router.local_paths import hide_paths
from router.models import ModelRef
from router.redaction import redact
from router.repository.check_config import check_config
from router.repository.copies import one_copy
from router.repository.files import RemoteFile
from router.repository.listing import Listing
from router.repository.select_files import Selection
from router.requests.call import caller_token, parse
from router.requests.dialects import OPENAI
from router.requests.engine_errors import read_engine_error
from router.requests.event_stream import EventStream
from router.requests.manifests import holds_media
from router.requests.parse_time import parse_time
from router.requests.patterns import MOST_CHARACTERS
from router.requests.routes import ROUTES
from router.runpod.inputs import read
from router.runpod.limits import size
from router.runpod.outputs import answered, streamed
from router.secrets import Token
from tests.bench.shapes import SHAPES

Parser = Callable[[bytes], object]  # reads an input; its result does not matter

LEAST, MOST = 1 << 14, 1 << 20  # bytes of an input
LONG = 0.01  # seconds; ratios of shorter times mean nothing
QUARTER = 4
ALLOWED = 9.0  # times as long for four times the bytes: 4 is linear, 16 quadratic
PER_BYTE = 20e-6  # seconds; ten times the slowest parser's
RUNS = 3


def seconds(parser: Parser, content: bytes, runs: int = 1) -> float:
    """CPU time of the fastest of these runs."""
    took = []
    for _ in range(runs):
        began = time.thread_time()
        with suppress(RouterError, SettingsError, ValueError):
            parser(content)
        took.append(time.thread_time() - began)
    return min(took)


def check(
    parser: Parser,
    made: Callable[[int], bytes],
    most: int = MOST,
    per_byte: float = PER_BYTE,
) -> None:
    size = min(LEAST, most)
    before = seconds(parser, made(size // QUARTER), 2)  # the first run may fill caches
    took = seconds(parser, made(size))
    while took < LONG and size < most:
        size *= QUARTER
        before, took = took, seconds(parser, made(size))
    if took < per_byte * size and took <= max(LONG, ALLOWED * before):
        return
    # Other work on the machine can only have made it slower: measure again.
    took = seconds(parser, made(size), RUNS)
    assert took < per_byte * size, f"{took / size * 1e9:.0f} ns for each of {size} bytes"
    before = seconds(parser, made(size // QUARTER), RUNS)
    # Check twice: a cache or the allocator can cause one step.
    if took > max(LONG, ALLOWED * before):
        later = seconds(parser, made(size * QUARTER), RUNS)
        assert later < ALLOWED * took, f"{before:.3f}, {took:.3f}, {later:.3f} s up to {size}"


def repeated(unit: str) -> Callable[[int], bytes]:
    return lambda size: (unit.encode() * (size // len(unit.encode()) + 1))[:size]


@pytest.fixture(autouse=True)
def without_collections() -> Iterator[None]:
    """Their cost depends on everything else in memory. A side process makes none either."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


# Bodies


@pytest.mark.parametrize("shape", SHAPES)
def test_a_body(shape: str) -> None:
    path, made = SHAPES[shape]
    check(lambda body: parse(body, ROUTES[path]), made)


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("shape", ["messages", "empty media"])
def test_a_body_of_any_route(path: str, shape: str) -> None:
    check(lambda body: parse(body, ROUTES[path]), SHAPES[shape][1])


@pytest.mark.parametrize("shape", ["objects", "escapes", "image"])
def test_the_time_to_parse_a_body(shape: str) -> None:
    check(parse_time, SHAPES[shape][1])


# Jobs


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", ["bare", "openai"])
def test_a_job(shape: str, form: str) -> None:
    def job(body: bytes) -> object:
        content = orjson.loads(body)
        bare = {"prompt": "x", **content}
        return bare if form == "bare" else {"openai_route": "/v1/x", "openai_input": content}

    _, made = SHAPES[shape]
    jobs: dict[bytes, object] = {}

    def prepared(size: int) -> bytes:
        body = made(size)
        with suppress(ValueError):
            jobs[body] = job(body)
        return body

    check(lambda body: read(jobs.get(body)), prepared)


# Expressions for an engine to follow

EXPRESSIONS = {
    "regex": ("a{1,", "a{1", "a{", "(?<a", "["),
    "ebnf": ('root ::= "a"{1,', 'root ::= "a"', "root"),
}


@pytest.mark.parametrize(
    ("field", "begins"),
    [(field, begins) for field, all_begins in EXPRESSIONS.items() for begins in all_begins],
)
def test_an_expression(field: str, begins: str) -> None:
    def made(unit: str, size: int) -> bytes:
        count = max(0, size - len(begins)) // len(unit)
        return orjson.dumps({"messages": [], field: begins + unit * count})

    for unit in (" ", "\n", "1", ",", "{1,", "a"):
        check(
            lambda body: parse(body, ROUTES["/v1/chat/completions"]),
            partial(made, unit),
            MOST_CHARACTERS,
        )


# Texts that regular expressions read

UNITS = [
    *(" ", "\t", "\n", "\r\n", "/", "//", "/a", "a/", "a", "A", ".", "..", "-", "--", "_", "@"),
    *("\\", '\\"', '"', "'", ":", "::", "=", "==", "&", "?", "?a", "&a=", "{", "[", "(", "<"),
    *("hf_", "hf_a", "rpa_", "api_org_", "eyJ", "eyJabcdefgh.", "Bearer ", "bearer\\n"),
    *("token", 'token"', "token : ", 'token\\"', "api_key ", "key='", "authorization: Basic "),
    *("X-Amz-", "?X-Amz-a", "x-goog-a=", "Signature", "&sig", "%3D", "%41", "%", "https://"),
    *("file:", "file:/", ":/", "\\n/", "/v1/", "/generate", 'File "', 'File "x", line 1'),
    *(
        "*",
        "a*",
        "*/*",
        ",",
        "a,",
        "a/b,",
        "é",
        "😀",
        "\x00",
        "\x85",
        "\u2028",
        "data:",
        ";base64,",
    ),
    *("- a: ", "- ", "a: ", "&a ", "*a ", "!!", "? ", "'", "|\n ", "#", "%YAML ", "\ta"),
]


def text(parser: Callable[[str], object]) -> Parser:
    return lambda content: parser(content.decode(errors="replace"))


PATTERNS = Patterns.parse("org/*a*a*a*b,*/*-*-*-*x@*,a/b")

TEXTS: dict[str, Parser] = {
    "a model's name": text(ModelRef.parse),
    "a name after an organization": text(lambda name: ModelRef.parse("org/" + name)),
    "a revision": text(lambda name: ModelRef.parse("org/model@" + name)),
    "a token": text(Token),
    "a field of a token": text(lambda value: caller_token(None, value)),
    "an API key": text(lambda key: Keyring(["k" * 20]).caller([key])),
    "a request's id": text(_PLAUSIBLE_ID.fullmatch),
    "a job's route": text(lambda route: read({"openai_route": route, "openai_input": {}})),
    "a line of a log": text(redact),
    "an engine's error": lambda body: read_engine_error(
        400, body, retry_after=None, hide=hide_paths
    ),
    "an engine's message": text(lambda message: hide_paths(message, ["/root/models"])),
    "base64": text(holds_media),
    "a URL of media": text(
        lambda url: parse(
            orjson.dumps({"messages": [{"content": [{"image_url": "https://a" + url}]}]}),
            ROUTES["/v1/chat/completions"],
            frozenset({"a"}),
        )
    ),
    "media": text(lambda data: parse(orjson.dumps({"image_data": data}), ROUTES["/generate"])),
    "an answer for a job": answered,
    "the size of an answer for a job": lambda content: asyncio.run(size(answered(content))),
    "a stream for a job": lambda events: list(streamed(events)),
    "patterns of names": text(Patterns.parse),
    "a size": text(parsers.as_size),
    "a number": text(parsers.as_number),
    "names": text(parsers.as_names),
    "hosts": text(parsers.as_hosts),
    "hosts of its own": text(parsers.as_own_hosts),
    "origins": text(parsers.as_origins),
    "keys": text(parsers.as_keys),
}


@pytest.mark.parametrize("parser", TEXTS)
def test_a_text(parser: str) -> None:
    for unit in UNITS:
        check(TEXTS[parser], repeated(unit), 1 << 18)


def test_a_models_file() -> None:
    for unit in UNITS[::4]:  # PyYAML is slow, and the operator is trusted
        check(text(models_file.parse), repeated(unit), LEAST // QUARTER, 1e-3)


def test_a_pattern_of_many_stars_reads_a_name_in_time() -> None:
    ref = ModelRef.parse("a" * 96 + "/" + "a" * 96)
    stars = Patterns.parse("*" + "a*" * 4 + "b/x")
    began = time.thread_time()
    assert not stars.allow(ref)
    assert not stars.cover(ref.repo_id)
    assert time.thread_time() - began < 0.1


# Streams of an engine


def fed(piece: int) -> Parser:
    def feed(content: bytes) -> None:
        events = EventStream(OPENAI, hide_paths)
        for start in range(0, len(content), piece):
            events.feed(content[start : start + piece])
        events.end()

    return feed


EVENTS = [
    "\n",
    "\n\n",
    "\r\n",
    "data: x\n",
    "data: {}\n\n",
    'data: {"error": "/a"}\n\n',
    '"error"',
    'data: {"error": {"message": "/a /b"}}\n\n',
    'data: {"error":null}\n',
    ":",
]


@pytest.mark.parametrize("piece", [1, 100, 65536])
@pytest.mark.parametrize("unit", EVENTS)
def test_a_stream_of_an_engine(unit: str, piece: int) -> None:
    check(fed(piece), repeated(unit), MOST if piece > 1 else 1 << 17)


@pytest.mark.parametrize("unit", EVENTS)
def test_the_end_of_a_stream_that_failed(unit: str) -> None:
    def fail(content: bytes) -> None:
        events = EventStream(OPENAI, hide_paths)
        events.feed(content + b"\n\n")
        events._next_sequence_number()

    check(fail, repeated(unit))


# Files of repositories


@pytest.mark.parametrize("unit", ["[],", '{"a":{}},', '"a/b",', '{"file":"' + "a" * 99 + '"},'])
def test_a_configuration(unit: str, tmp_path: Path) -> None:
    def write_and_check(content: bytes) -> None:
        (tmp_path / "config.json").write_bytes(content)
        check_config(tmp_path)

    def made(size: int) -> bytes:
        values = (unit * (size // len(unit) + 1)).removesuffix(",")
        return b'{"a":[%s]}' % values.encode()

    check(write_and_check, made)


@pytest.mark.parametrize("unit", [" ", "/", "../", "a/", "..", "..a/", ":", "a\n"])
@pytest.mark.parametrize("begin", ["", "a"])
def test_a_path_in_a_configuration(begin: str, unit: str, tmp_path: Path) -> None:
    def write_and_check(path: str) -> None:
        (tmp_path / "config.json").write_bytes(orjson.dumps({"file": f"{begin}{path}x"}))
        check_config(tmp_path)

    check(text(write_and_check), repeated(unit))


def select(files: Iterable[RemoteFile]) -> None:
    selection = Selection(Listing.of(files), "org/model", unsafe_weights=True)
    selection.small()
    selection.likely_weights()


@pytest.mark.parametrize(
    "name",
    [
        *("{}.json", "original/{}.bin", "a/{}", "consolidated{}.safetensors"),
        *("model-{}-of-2.safetensors", "vocabvocab{}", "{}.py"),
    ],
)
def test_a_listing(name: str) -> None:
    def chosen(content: bytes) -> None:
        files = (RemoteFile(name.format(n), 1, "b") for n in range(len(content) // 100))
        select(files)

    check(chosen, lambda size: b"x" * size)


@pytest.mark.parametrize("unit", ["a/", "./", "../", "a", "\\", " "])
def test_a_long_name_in_a_listing(unit: str) -> None:
    check(
        text(lambda name: select([RemoteFile(name, 1, "b")])),
        repeated(unit),
    )


@pytest.mark.parametrize("unit", ["1", "-", "-1", "1_of_", "1-of-1-", "_", "fp16-"])
@pytest.mark.parametrize("end", ["x", "-1-of-1"])
def test_a_long_name_of_weights(unit: str, end: str) -> None:
    def choose(name: str) -> None:
        one_copy([RemoteFile(f"{name}{end}.safetensors", 1, "b")], ".safetensors")

    check(text(choose), repeated(unit))
