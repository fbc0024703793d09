"""Only values that are valid in W3C's Trace Context are passed on."""

from __future__ import annotations

from dataclasses import replace

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.http.server import HttpServer
from router.requests.record import Record
from router.requests.trace_context import Trace, read_trace
from tests.requests.harness import CHAT, chat, serving_fakes

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


def test_a_valid_trace_is_passed_on_as_it_came() -> None:
    assert read_trace([PARENT], []) == Trace(PARENT)
    assert read_trace([PARENT], ["a=1,t@b=x y"]) == Trace(PARENT, "a=1,t@b=x y")
    assert read_trace([PARENT], ["a=1 , ", "b=2"]) == Trace(PARENT, "a=1,b=2")


async def test_a_callers_trace_goes_to_the_engine_and_nothing_without_one() -> None:
    async with serving_fakes() as d:
        await d.ask(replace(chat(), record=Record(trace=Trace(PARENT))))
        await d.ask(chat())
        assert [one.trace for one in d.upstream.sent] == [Trace(PARENT), None]


async def test_both_headers_are_read_in_any_case_of_letters() -> None:
    headers = {"Traceparent": PARENT, "TraceState": "a=1"}
    async with serving_fakes() as d:
        server = HttpServer(d.service)
        port = await server.start("127.0.0.1", 0)
        body = {"model": "org/model", "messages": [{"role": "user", "content": "Hi"}]}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://127.0.0.1:{port}{CHAT}", json=body, headers=headers) as got,
        ):
            assert got.status == 200
        await server.stop(0.01)
        assert [one.trace for one in d.upstream.sent] == [Trace(PARENT, "a=1")]


@pytest.mark.parametrize(
    "parents",
    [
        [],
        [PARENT, PARENT],
        [""],
        [PARENT.upper()],
        [f"ff-{TRACE}-{SPAN}-01"],
        [f"00-{'0' * 32}-{SPAN}-01"],
        [f"00-{TRACE}-{'0' * 16}-01"],
        [f"{PARENT}-more"],
        [f"{PARENT}\n"],
        [f"{PARENT}\r\nX-Other: 1"],
        [f" {PARENT}"],
    ],
)
def test_no_state_is_passed_on_without_a_valid_parent(parents: list[str]) -> None:
    assert read_trace(parents, ["a=1"]) is None


@pytest.mark.parametrize(
    "states",
    [
        ["a"],
        ["A=1"],
        ["=1"],
        ["a="],
        ["a=1=2"],
        ["a=1,a=2"],
        ["a=\u00e9"],
        ["a=1\r\nX-Other: 1"],
        ["a=1\n"],
        [",".join(f"k{n}=1" for n in range(33))],
        [f"a={'x' * 600}"],
        ["," * 513],
    ],
)
def test_a_state_that_is_not_valid_is_dropped_alone(states: list[str]) -> None:
    assert read_trace([PARENT], states) == Trace(PARENT)


@given(st.text(max_size=80), st.lists(st.text(max_size=80), max_size=3))
def test_nothing_that_is_passed_on_ends_a_header(more: str, states: list[str]) -> None:
    for parent in (PARENT, PARENT + more, more):
        trace = read_trace([parent], states)
        if trace is not None:
            text = trace.parent + trace.state
            assert text.isascii()
            assert text.isprintable()
            assert len(text) <= 600
