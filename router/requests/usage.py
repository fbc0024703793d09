"""Finds the token counts of an answer.

An answer can repeat text from its caller that looks like a `usage`. So for each kind of answer,
only the part that the engine itself writes is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import orjson

TAIL = 2048  # bytes of a piece to search
_USAGE = (b'"usage":{', b'"usage": {')
_META = (b'"meta_info":{', b'"meta_info": {')  # SGLang's own, in /generate
_LONGEST = 600  # bytes of a `usage` to read
_LONGEST_COUNT = 40  # bytes of one number with its name
# Never matches inside a JSON string, because quotes are escaped there.
_PROMPT = re.compile(rb'"(?:prompt|input)_tokens":\s?([0-9]{1,9})(?![0-9])')
_COMPLETION = re.compile(rb'"(?:completion|output)_tokens":\s?([0-9]{1,9})(?![0-9])')


class Tokens(NamedTuple):
    """The counts; None if the engine does not report them."""

    prompt: int | None = None
    completion: int | None = None


def read_tokens(text: bytes) -> Tokens:
    """The last `usage` or `meta_info` at the end of an answer in one piece."""
    at = max(map(text.rfind, _USAGE))
    if at >= 0:
        usage = text[at : at + _LONGEST]
    elif (at := max(map(text.rfind, _META))) >= 0:
        usage = text[at:]  # long if it contains logprobs
    else:
        return Tokens()
    return Tokens(_number(_PROMPT, usage), _number(_COMPLETION, usage))


LONGEST_EVENT = 1 << 20  # bytes of an event that is parsed while nobody else is served
_LAST_EVENTS = 8  # to search
_TOO_MANY = 10**9  # tokens


def read_events(text: bytes) -> Tokens:
    """The token counts in the `usage` or `meta_info` of the last event that has one, either its
    own or that of its `response` or `message`."""
    for data in _latest_first(text):
        if len(data) > LONGEST_EVENT or not (b'"usage"' in data or b'"meta_info"' in data):
            continue
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError:
            continue
        for told in _places(event):
            tokens = Tokens(
                _number_of(told, "prompt_tokens", "input_tokens"),
                _number_of(told, "completion_tokens", "output_tokens"),
            )
            if tokens != Tokens():
                return tokens
    return Tokens()


def _latest_first(text: bytes) -> Iterator[bytes]:
    """Yield the data of the last events, latest first."""
    text = b"\n" + text
    end = len(text)
    for _ in range(_LAST_EVENTS):
        at = text.rfind(b"\ndata:", 0, end)
        if at < 0:
            return
        begin = at + len(b"\ndata:")
        line_end = text.find(b"\n", begin, end)
        yield text[begin : end if line_end < 0 else line_end]
        end = at + 1


def _places(event: object) -> Iterator[dict[str, object]]:
    if not isinstance(event, dict):
        return
    for about in (event, event.get("response"), event.get("message")):
        if isinstance(about, dict):
            for name in ("usage", "meta_info"):
                if isinstance(told := about.get(name), dict):
                    yield told


def _number_of(told: dict[str, object], *names: str) -> int | None:
    numbers = (told.get(name) for name in names)
    return next((one for one in numbers if type(one) is int and 0 <= one < _TOO_MANY), None)


REPEATS_ITS_REQUEST = "/v1/responses"  # after the usage: `tools`, `metadata` and more
_FIRST_USAGE = b'"usage":'


class FirstUsage:
    """Reads the first `usage` of an answer in one piece that repeats its request afterwards."""

    __slots__ = ("_rest", "_usage")

    def __init__(self) -> None:
        self._rest = self._usage = b""

    def add(self, piece: bytes) -> None:
        if self._usage:
            self._usage += piece[: max(0, _LONGEST - len(self._usage))]
            return
        text = self._rest + piece
        at = text.find(_FIRST_USAGE)
        if at >= 0:
            self._usage = text[at : at + _LONGEST]
        self._rest = text[1 - len(_FIRST_USAGE) :]

    @property
    def tokens(self) -> Tokens:
        """Empty if the engine sends null there."""
        if not self._usage.startswith(_USAGE):
            return Tokens()
        return Tokens(_number(_PROMPT, self._usage), _number(_COMPLETION, self._usage))


NATIVE = "/generate"
_RESULT = re.compile(rb'"index":\s?([0-9]{1,6})\}\r?$')  # of several; SGLang adds it last


class StreamedResults:
    """Adds up the last counts of each result, for streams that mix several results."""

    __slots__ = ("_results",)

    def __init__(self) -> None:
        self._results: dict[bytes, Tokens] = {}  # by index

    def add(self, events: bytes) -> None:
        for event in events.split(b"\n\n"):
            if found := _RESULT.search(event, max(0, len(event) - _LONGEST_COUNT)):
                self._results[found[1]] = read_tokens(event)

    @property
    def tokens(self) -> Tokens:
        """Empty if there is only one result, which has no index."""
        if not self._results:
            return Tokens()
        prompts, completions = zip(*self._results.values(), strict=True)
        return Tokens(_sum(prompts), _sum(completions))


def _sum(counts: Iterable[int | None]) -> int | None:
    told = [one for one in counts if one is not None]
    return sum(told) if told else None


# Like `_PROMPT` and `_COMPLETION`, but fast to find in a long text.
_COUNT = re.compile(rb'_tokens":\s?([0-9]{1,9})(?![0-9])')
_OF_PROMPT, _OF_COMPLETION = (b'"prompt', b'"input'), (b'"completion', b'"output')


class TokenSums:
    """Adds up the counts in an answer that is a list: each result has a `meta_info`."""

    __slots__ = ("_completion", "_prompt", "_rest")

    def __init__(self) -> None:
        self._prompt: int | None = None
        self._completion: int | None = None
        self._rest = b""  # the end of the last piece, which may continue in the next one

    def add(self, piece: bytes) -> None:
        text, begin = self._rest + piece, 0
        for found in _COUNT.finditer(text):
            if found.end() == len(text):
                break  # more digits may follow
            begin = found.end()
            self._note(text[max(0, found.start() - 16) : found.start()], int(found[1]))
        self._rest = text[max(begin, len(text) - _LONGEST_COUNT) :]

    def _note(self, before: bytes, number: int) -> None:
        if before.endswith(_OF_PROMPT):
            self._prompt = (self._prompt or 0) + number
        elif before.endswith(_OF_COMPLETION):
            self._completion = (self._completion or 0) + number

    @property
    def tokens(self) -> Tokens:
        return Tokens(self._prompt, self._completion)


def _number(pattern: re.Pattern[bytes], usage: bytes) -> int | None:
    found = pattern.search(usage)
    return int(found[1]) if found else None
