"""A request's log line, as text and as JSON."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import secrets
from collections.abc import Iterator

import pytest

from router import logs
from router.pool.loading import AT_ONCE, Temperature, Waited
from router.redaction import Redactor
from router.requests.line import line
from router.requests.outcomes import Outcome
from router.requests.record import Record
from router.requests.recorder import Recorder, known_route
from router.requests.trace_context import Trace
from router.secrets import Secret

CHAT = "/v1/chat/completions"


@pytest.fixture
def root() -> Iterator[None]:
    logger = logging.getLogger()
    before = logger.handlers[:], logger.level
    yield
    logger.handlers[:], logger.level = before


class Writes(io.StringIO):
    """Records each write of text."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []
        self.wrote = asyncio.Event()

    def write(self, text: str, /) -> int:
        self.written.append(text)
        self.wrote.set()
        return len(text)


def record_of(
    recorder: Recorder, request_id: str = "my-id", model: str = "org/model"
) -> Record:
    record = recorder.open(CHAT, request_id=request_id)
    record.authorized(model, "3f2a" * 16)
    record.granted(AT_ONCE)
    record.begins(b'{"usage":{"prompt_tokens":12,"completion_tokens":80}}')
    return record


def fixed() -> Recorder:
    now = iter((0.0, 0.012, 0.340))
    return Recorder(clock=lambda: next(now), wall=lambda: 1.0)


def test_a_line_says_what_became_of_a_request() -> None:
    record = record_of(fixed())
    record.end(Outcome.OK, status=200)
    assert line(record) == (
        f"POST {CHAT} ok 200 org/model hit queue 0 ms, first 12 ms, total 340 ms, "
        "12+80 tokens, caller 3f2a3f2a3f2a, id my-id"
    )


def test_a_line_says_what_a_request_waited_for_and_why_it_broke_off() -> None:
    now = iter((0.0, 9.0, 10.0))
    record = Recorder(clock=lambda: next(now)).open(CHAT, request_id="my-id")
    record.authorized("org/model", "")
    record.granted(Waited(1.0, 7.0, Temperature.COLD))
    record.granted(AT_ONCE)
    record.begins(b"data: {}\n\n")
    record.break_off("deadline_exceeded")
    assert line(record) == (
        f"POST {CHAT} broke_off deadline_exceeded org/model cold queue 1000 ms, load 7000 ms, "
        "first 9000 ms, total 10000 ms, 2 attempts, id my-id"
    )


def test_in_json_the_fields_are_fields(root: None) -> None:
    stream = io.StringIO()
    logs.configure("INFO", "json", [], stream)
    recorder = fixed()
    record = record_of(recorder)
    record.end(Outcome.OK, status=200)
    recorder.close(record)
    told = json.loads(stream.getvalue())
    assert told.keys() >= {"time", "level", "logger"}
    assert "message" not in told
    assert told["outcome"] == "ok"
    assert (told["status"], told["model"], told["temperature"]) == (200, "org/model", "hit")
    assert (told["queue_ms"], told["load_ms"], told["first_ms"]) == (0.0, 0.0, 12.0)
    assert (told["total_ms"], told["prompt_tokens"], told["completion_tokens"]) == (340, 12, 80)
    assert (told["caller"], told["id"], told["stream"]) == ("3f2a3f2a3f2a", "my-id", False)


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_secret_is_told(root: None, form: str) -> None:
    token, key = "hf_" + secrets.token_hex(16), secrets.token_hex(16)
    stream = io.StringIO()
    logs.configure("INFO", form, [Secret(key)], stream)
    recorder = Recorder(redact=Redactor([Secret(key)]))
    for chosen in (token, key):
        recorder.close(record_of(recorder, chosen, model=f"org/{chosen}"))
    assert stream.getvalue().count("\n") == 2
    assert token not in stream.getvalue()
    assert key not in stream.getvalue()
    assert not {token, key} & {record.id for record in recorder.activity.ended}


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("id_", ["a\nforged", "a b", "", "é", "a" * 200, "\x1b[31m"])
def test_no_id_forges_a_line(root: None, form: str, id_: str) -> None:
    stream = io.StringIO()
    logs.configure("INFO", form, [], stream)
    recorder = Recorder()
    record = record_of(recorder, id_)
    recorder.close(record)
    assert record.id == "-"
    assert stream.getvalue().count("\n") == 1


@pytest.mark.parametrize(
    ("path", "route"),
    [
        (CHAT, CHAT),
        ("/v1/models", "/v1/models"),
        ("/v1/models/org/private", "/v1/models"),
        ("/v1/modelsx", "-"),
        ("/x\n2026 forged", "-"),
        ("", "-"),
    ],
)
def test_a_path_is_told_only_if_it_is_a_route(path: str, route: str) -> None:
    assert known_route(path) == route


def test_no_observer_hears_a_secret_in_the_name_of_a_model() -> None:
    heard: list[str] = []
    token = "hf_" + secrets.token_hex(16)
    recorder = Recorder(observers=[lambda record: heard.append(record.model)])
    for _ in range(2):
        recorder.close(record_of(recorder, model=f"org/{token}"))
        recorder.close(record_of(recorder, model="org/model"))
    assert heard == ["org/***", "org/model"] * 2


def test_the_state_of_a_trace_that_holds_a_secret_is_dropped() -> None:
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    for state, kept in ((f"a=hf_{secrets.token_hex(16)}", ""), ("a=1", "a=1"), ("", "")):
        assert Recorder().open(CHAT, trace=Trace(parent, state)).trace == Trace(parent, kept)


def test_a_secret_that_is_learned_later_is_not_told() -> None:
    heard: list[str] = []
    redact, key = Redactor(), secrets.token_hex(16)
    recorder = Recorder(observers=[lambda record: heard.append(record.model)], redact=redact)
    recorder.close(record_of(recorder, model=f"org/{key}"))
    redact.learn([Secret(key)])
    recorder.forget_names()
    recorder.close(record_of(recorder, model=f"org/{key}"))
    assert heard == [f"org/{key}", "org/***"]


def test_the_name_of_a_key_holds_no_secret_and_forges_no_line() -> None:
    token = "hf_" + secrets.token_hex(16)
    recorder = Recorder()
    record = record_of(recorder)
    record.caller = f"{token}\nforged"
    recorder.close(record)
    assert line(record).endswith("caller ***\\nforged, id my-id")


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_line_has_the_form_of_all_lines(root: None, form: str) -> None:
    stream = io.StringIO()
    logs.configure("INFO", form, [], stream)
    recorder = Recorder()
    recorder.close(record_of(recorder))
    logging.getLogger("router.requests").info("the same")
    first, second = stream.getvalue().splitlines()
    if form == "json":
        assert [*json.loads(first)][:3] == [*json.loads(second)][:3]
    else:
        head = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO    router.requests: "
        assert re.match(head, first)
        assert re.match(head, second)


def test_other_handlers_can_read_the_line(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    with caplog.at_level(logging.INFO):
        recorder.close(record_of(recorder))
    assert [one.getMessage().split()[:2] for one in caplog.records] == [["POST", CHAT]]
    assert CHAT in caplog.text


@pytest.mark.parametrize("form", ["text", "json"])
async def test_lines_that_come_soon_after_one_another_are_written_together(
    root: None, form: str
) -> None:
    stream = Writes()
    logs.configure("INFO", form, [], stream)
    recorder = Recorder()
    for number in range(3):
        recorder.close(record_of(recorder, f"id-{number}"))
    assert not stream.written
    async with asyncio.timeout(90):
        await stream.wrote.wait()
    (text,) = stream.written
    assert [int(number) for number in re.findall(r"id-(\d)", text)] == [0, 1, 2]
    assert len(text.splitlines()) == 3
    assert all("router.requests" in line for line in text.splitlines())


async def test_what_is_not_written_yet_is_written_when_the_worker_leaves(root: None) -> None:
    stream = io.StringIO()
    logs.configure("INFO", "text", [], stream)
    recorder = Recorder()
    recorder.close(record_of(recorder))
    recorder.flush()
    recorder.flush()
    assert stream.getvalue().count("\n") == 1


def test_no_line_is_made_where_none_is_wanted(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    with caplog.at_level(logging.WARNING):
        recorder.close(record_of(recorder))
    assert not caplog.records


def test_observers_hear_of_each_request_once() -> None:
    heard: list[str] = []
    recorder = Recorder(observers=[lambda record: heard.append(record.outcome)])
    record = recorder.open(CHAT)
    assert list(recorder.activity.running) == [record]
    recorder.close(record)
    assert heard == [Outcome.CALLER_LEFT]
    assert not recorder.activity.running
    assert list(recorder.activity.ended) == [record]
