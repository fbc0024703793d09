"""The commands that talk to a running worker, with scripted answers."""

from __future__ import annotations

import io
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from router.cli import main
from router.commands.operate.client import WorkerClient, url_of
from router.commands.operate.logs import logs
from router.commands.operate.status import causes
from router.commands.operate.texts import waiting_text
from router.commands.operate.top import top
from router.commands.output import Output
from tests.commands.stub_worker import (
    GIB,
    Json,
    StubWorker,
    engine,
    refusal,
    sse,
    state,
    stub_worker,
)

STATE, EVENTS = "/admin/state", "/admin/events"


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubWorker]:
    monkeypatch.delenv("ADMIN_API_KEY", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    with stub_worker() as stub:
        monkeypatch.setenv("MODEL_ROUTER_URL", stub.url)
        yield stub


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_behind_runpods_balancer_the_worker_is_where_it_listens_by_default() -> None:
    runpod = {"RUNPOD_ENDPOINT_ID": "a", "RUNPOD_POD_ID": "b", "PORT_HEALTH": "81"}
    assert url_of(None, runpod) == "http://127.0.0.1:80"
    assert url_of(None, {}) == "http://127.0.0.1:8000"
    assert url_of(None, {"PORT": "9000"}) == "http://127.0.0.1:9000"


def test_ps_shows_memory_and_each_model_on_a_line(
    worker: StubWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    room = {
        "requests": 2,
        "reason": "room",
        "seconds": 41.0,
        "leaving": ["acme/a@" + "d" * 40],
        "callers": [{"caller": "3f2a9c01d7e4", "requests": 2}],
    }
    busy = {"requests": 4, "callers": [], "more_callers": 0}
    failed = {"kind": "start", "at": 940.0, "text": "Traceback\n  lines\nValueError: no kernel"}
    up = engine("acme/a", names=["first"], pinned=True, evicted_next=None, in_flight=busy)
    waits = engine(
        "acme/b",
        state="fetched",
        devices=[],
        waiting=room,
        last_start=None,
        failures=2,
        last_failure=failed,
        retry_at=1008.0,
        evicted_next=None,
    )
    worker.answers[STATE] = (200, state(up, waits))
    assert main(["ps"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "worker    ready, up for 10 min"
    assert lines[1].startswith("models    2 of 2 loaded; 0 of 64 places in the queue taken")
    assert lines[2] == "device 0  3.0 GiB of 8.0 GiB held, 5.0 GiB left, 5.0 GiB measured free"
    assert lines[3].startswith(
        "disk      7.0 GiB used by models; 90.0 GiB free, of which 5.0 GiB"
    )
    first, second = (line for line in lines if "fetched" in line or "first" in line)
    assert first.split("  ")[0] == "first"
    assert "ready 2 min" in first
    assert "3.0 GiB on 0" in first
    assert " 4 " in first
    assert "pinned" in first
    assert "12.3 s, 2 min ago" in first
    assert second.startswith("acme/b@ccccccc  fetched 2 min  (3.0 GiB)")
    assert "2: room, 41 s to go" in second
    assert "start 60 s ago, 2 in a row, again in 8 s" in second
    assert "acme/b@ccccccc: start: Traceback lines ValueError: no kernel" in lines
    said = "2 of the 2 requests in line are from caller 3f2a9c01d7e4"
    assert f"acme/b@ccccccc: {said}" in lines
    assert "acme/b@ccccccc gets the room of acme/a@ddddddd" in lines


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"overdue": True}, "1: starting, 45 s, expected 30 s"),
        ({"overdue": False, "guessed": True}, "1: starting, 4 s to go (a guess)"),
        ({"overdue": False, "guessed": False}, "1: starting, 4 s to go"),
    ],
)
def test_an_estimate_that_is_used_up_or_a_guess_is_told_as_such(
    more: dict[str, bool], says: str
) -> None:
    times = {"seconds": 4.4, "elapsed_seconds": 45.0, "expected_seconds": 30.0}
    waiting = {"requests": 1, "reason": "starting", **times, **more}
    assert waiting_text(waiting) == says


@pytest.mark.parametrize(
    ("caller", "says"),
    [
        ("3f2a9c01d7e4", "caller 3f2a9c01d7e4"),
        ("", "callers without a key or a token"),
        (None, "the operator"),
    ],
)
def test_a_caller_without_a_key_is_not_taken_for_the_operator(
    caller: str | None, says: str
) -> None:
    waiting = {"requests": 2, "callers": [{"caller": caller, "requests": 2}], "leaving": []}
    told = list(causes(state(engine(waiting=waiting))))
    assert told[-1].endswith(f"2 of the 2 requests in line are from {says}")


def test_a_model_that_has_printed_nothing_is_told_of_as_such(
    worker: StubWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    worker.answers["/admin/models/acme/typo/logs"] = (200, {"lines": []})
    assert main(["logs", "acme/typo"]) == 0
    assert "no engine of acme/typo has printed anything" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "meant"), [(["pss"], "ps"), (["serve", "--max-quue", "3"], "--max-queue")]
)
def test_a_mistyped_command_or_option_is_told_what_was_meant(
    typed: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(typed)
    assert capsys.readouterr().err.endswith(f"Did you mean {meant}?\n")


def test_ps_of_an_empty_worker_says_so(
    worker: StubWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    worker.answers[STATE] = (200, state(leaving=True) | {"disk": None, "devices": []})
    assert main(["ps"]) == 0
    said = capsys.readouterr().out
    assert "leaving: it takes no more requests" in said
    assert "No model is loaded or waited for." in said


def test_ps_of_a_fleets_ingress_says_what_to_ask_instead(
    worker: StubWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    worker.answers[STATE] = 200, {"now": 1.0, "ingress": {}, "replicas": []}
    assert main(["ps"]) == 2
    assert "ingress of a fleet" in capsys.readouterr().err
    assert main(["ps", "--json"]) == 0


def test_a_text_from_a_stranger_steers_no_terminal(
    worker: StubWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = {"kind": "crash", "at": 1.0, "text": "red \x1b[31m alert"}
    worker.answers[STATE] = (200, state(engine(last_failure=failed)))
    assert main(["ps"]) == 0
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "path"),
    [
        (["ps"], STATE),
        (["unload", "first"], "/admin/models/first/unload"),
        (["logs", "first"], "/admin/models/first/logs"),
        (["reload"], "/admin/reload"),
        (["drain"], "/admin/drain"),
    ],
)
def test_json_is_what_the_api_says(
    worker: StubWorker, capsys: pytest.CaptureFixture[str], command: list[str], path: str
) -> None:
    worker.answers[path] = (200, {"anything": [1, 2]})
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"anything": [1, 2]}


@pytest.mark.parametrize("verb", ["load", "unload", "pin", "unpin"])
def test_a_deed_is_posted_to_the_model_that_is_named(
    worker: StubWorker, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    one = engine(pinned=True)
    worker.answers[f"/admin/models/acme/poet@v%202/{verb}"] = (
        200,
        {"ids": [one["id"]], "engines": [one]},
    )
    assert main([verb, "acme/poet@v 2"]) == 0
    assert [asked[0] for asked in worker.asked] == ["POST"]
    assert capsys.readouterr().out == f"{verb}: acme/poet@ccccccc is ready, pinned\n"


def test_reload_tells_what_was_read_and_is_unloaded(
    worker: StubWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    done = {"unloaded": ["acme/a@c"], "models": [{}]}
    files = {"models_file": "/m.yaml", "keys_file": "/k.yaml", "keys": 3}
    worker.answers["/admin/reload"] = (200, done | files)
    assert main(["reload"]) == 0
    assert capsys.readouterr().out.startswith(
        "reload: 1 model from /m.yaml\nreload: 3 keys from /k.yaml\nunload: acme/a@c"
    )


def test_a_reload_without_files_says_so(
    worker: StubWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"models_file": None, "keys_file": None, "keys": 0}
    worker.answers["/admin/reload"] = (200, {"unloaded": [], "models": []} | files)
    assert main(["reload"]) == 0
    assert capsys.readouterr().out == (
        "reload: no models file was read: MODELS_CONFIG names none\n"
        "reload: no keys file was read: API_KEYS_FILE is not set\n"
    )


def test_load_waits_if_asked_to(worker: StubWorker, capsys: pytest.CaptureFixture[str]) -> None:
    worker.answers["/admin/models/a/load?wait=1"] = (
        200,
        {"ids": ["org/a@" + "c" * 40], "engines": []},
    )
    assert main(["load", "a", "--wait"]) == 0
    assert "is not loaded" in capsys.readouterr().out


def test_a_refusal_is_told_and_exits_with_1(
    worker: StubWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = refusal("model_not_found", "Nothing of that name is loaded.")
    worker.answers["/admin/models/none/pin"] = (404, answer)
    assert main(["pin", "none", "--json"]) == 1
    said = capsys.readouterr()
    assert said.err == "model_not_found: Nothing of that name is loaded.\n"
    assert json.loads(said.out) == answer


def test_a_model_that_load_may_not_see_is_told_with_the_token_that_it_uses(
    worker: StubWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    worker.answers["/admin/models/org/a/load"] = (403, refusal("model_gated", "It is gated."))
    assert main(["load", "org/a"]) == 1
    assert "`load` uses the worker's own tokens" in capsys.readouterr().err


def test_what_a_worker_refuses_with_steers_no_terminal(
    worker: StubWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    worker.answers[STATE] = (404, refusal("model_not_found", "red \x1b[31m alert"))
    assert main(["ps"]) == 1
    assert "\x1b" not in capsys.readouterr().err


def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ADMIN_API_KEY", "two\nlines")
    assert main(["ps", "--url", "http://127.0.0.1:1"]) == 2
    assert capsys.readouterr().err == "ADMIN_API_KEY has characters that no header can carry\n"


def test_a_name_is_one_model_and_no_other_route(worker: StubWorker) -> None:
    for name in ("a?wait=1", "a#", "a%2F..%2F..%2Fdrain", "a b"):
        assert main(["unload", name]) == 1
    assert [asked[1] for asked in worker.asked] == [
        "/admin/models/a%3Fwait%3D1/unload",
        "/admin/models/a%23/unload",
        "/admin/models/a%252F..%252F..%252Fdrain/unload",
        "/admin/models/a%20b/unload",
    ]


def test_a_worker_without_operator_routes_is_explained(
    worker: StubWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ps"]) == 1
    assert "Without ADMIN_API_KEY, a worker has routes" in capsys.readouterr().err


def test_the_key_comes_from_the_environment_alone_and_is_never_shown(
    worker: StubWorker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = secrets.token_hex(16)
    monkeypatch.setenv("ADMIN_API_KEY", key)
    worker.answers[STATE] = (401, refusal("invalid_api_key", "Send ADMIN_API_KEY."))
    assert main(["ps"]) == 1
    assert [asked[2]["x-api-key"] for asked in worker.asked] == [key]
    said = capsys.readouterr()
    assert key not in said.out + said.err
    assert "ADMIN_API_KEY, is not that of this worker" in said.err
    monkeypatch.delenv("ADMIN_API_KEY")
    assert main(["ps"]) == 1
    assert "ADMIN_API_KEY, is not set here" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["ps", "--admin-api-key", key])
    assert ended.value.code == 2


def test_the_key_follows_no_redirect(
    worker: StubWorker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ADMIN_API_KEY", "k" * 32)
    with stub_worker() as elsewhere:
        worker.answers[STATE] = (302, f"{elsewhere.url}{STATE}")
        assert main(["ps"]) == 2
        assert elsewhere.asked == []
    assert "is not a worker" in capsys.readouterr().err


def test_a_worker_that_is_not_there_exits_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as silent:  # it keeps the port, and does not listen
        silent.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert main(["ps", "--url", url]) == 2
    assert f"no worker answers at {url}: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "url", ["ftp://there", "there", "http://", "http://me:pass@there", "http://there:port"]
)
def test_an_address_that_can_not_be_one_exits_with_2(
    capsys: pytest.CaptureFixture[str], url: str
) -> None:
    assert main(["ps", "--url", url]) == 2
    said = capsys.readouterr().err
    assert said.startswith("the worker's address")
    assert "pass@" not in said


@pytest.mark.parametrize("host", ["a b", "a" * 70 + ".invalid", "a..invalid"])
def test_a_host_that_no_network_can_have_exits_with_2(
    capsys: pytest.CaptureFixture[str], host: str
) -> None:
    assert main(["ps", "--url", f"http://{host}:80"]) == 2
    assert capsys.readouterr().err.startswith(f"no worker answers at http://{host}:80: ")


def test_a_name_in_another_encoding_is_no_model(worker: StubWorker) -> None:
    worker.answers["/admin/models/%FF/logs"] = (200, {"lines": []})
    assert main(["logs", "\udcff"]) == 0


@pytest.mark.parametrize(
    ("typed", "path", "answer"),
    [
        (["ps"], STATE, {}),
        (["ps"], STATE, state() | {"worker": None}),
        (["ps"], STATE, "[" * 100_000),
        (["top"], EVENTS, sse(("state", {}))),
        (["logs", "a"], "/admin/models/a/logs", {}),
        (["load", "a"], "/admin/models/a/load", {}),
        (["reload"], "/admin/reload", {}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_another_version_of_a_worker_answers_is_told_as_such(
    worker: StubWorker,
    capsys: pytest.CaptureFixture[str],
    typed: list[str],
    path: str,
    answer: Json | str,
) -> None:
    worker.answers[path] = (200, answer)
    assert main(typed) == 2
    assert capsys.readouterr().err.startswith(f"the server at {worker.url} is not a worker")


def test_a_drain_that_is_not_seen_to_its_end_is_no_success(
    worker: StubWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    worker.answers["/admin/drain"] = (202, {"leaving": True})
    worker.answers[EVENTS] = (200, sse(("state", state())))
    assert main(["drain", "--wait"]) == 2
    assert "may not have ended" in capsys.readouterr().err


def piped(worker: StubWorker, redirection: str) -> subprocess.CompletedProcess[str]:
    """Run `top` in a shell. Its exit status is the last line."""
    command = f"{sys.executable} -m router top {redirection}; echo $?"
    environ = {"PATH": os.environ["PATH"], "MODEL_ROUTER_URL": worker.url}
    return subprocess.run(
        ["/bin/sh", "-c", command],
        check=True,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.process
@pytest.mark.parametrize(
    ("redirection", "status", "says"),
    [(">&-", 0, ""), ("> /dev/full", 2, "the output can't be written: No space left")],
)
def test_an_output_that_takes_nothing_is_no_defect(
    worker: StubWorker, redirection: str, status: int, says: str
) -> None:
    worker.answers[EVENTS] = (200, sse(("state", state(leaving=True))))
    done = piped(worker, redirection)
    assert done.stdout.splitlines()[-1] == str(status)
    assert (says in done.stderr, "Traceback" in done.stderr) == (True, False)
    assert bool(done.stderr) is bool(says)


def test_what_follows_ends_with_its_reader_though_nothing_happens(worker: StubWorker) -> None:
    path = "/admin/models/a/logs?follow=1"
    worker.answers[path] = (200, ": nothing new\n\n")
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream, pytest.raises(BrokenPipeError):
        logs(WorkerClient(worker.url), Output(stream, {}), "a", follow=True, as_json=False)


def test_what_is_no_worker_is_told(
    worker: StubWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    worker.answers[STATE] = (200, "<html>a proxy</html>")
    assert main(["ps"]) == 2
    assert "is not a worker: <html>a proxy" in capsys.readouterr().err


def test_top_without_a_terminal_writes_a_line_for_each_state_until_the_worker_has_left(
    worker: StubWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    first, last = state(engine()), state(leaving=True)
    worker.answers[EVENTS] = (
        200,
        sse(("state", first), ("journal", {"what": "gone"}), ("state", last)),
    )
    assert main(["top"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert (
        "device 0 3.0 GiB of 8.0 GiB; 0 in flight; 0 waiting; acme/poet@ccccccc ready"
        in lines[0]
    )


def test_top_as_json_has_the_states(
    worker: StubWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    last = state(engine(), leaving=True)
    worker.answers[EVENTS] = (200, sse(("state", last)))
    assert main(["top", "--json"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [last]


def test_top_connects_again_when_its_events_end(worker: StubWorker) -> None:
    worker.answers[EVENTS] = (200, sse(("state", state())))

    class Leaves(Output):
        shown = 0

        def line(self, text: str = "", style: str = "") -> None:
            self.shown += 1
            if self.shown == 2:
                worker.answers[EVENTS] = (200, sse(("state", state(leaving=True))))

    output = Leaves(io.StringIO(), {})
    top(WorkerClient(worker.url), output, as_json=False)
    assert output.shown == 3


def test_top_takes_the_whole_terminal_and_gives_it_back(worker: StubWorker) -> None:
    worker.answers[EVENTS] = (200, sse(("state", state(engine(), leaving=True))))
    terminal = Terminal()
    top(WorkerClient(worker.url), Output(terminal, {"TERM": "xterm"}), as_json=False)
    shown = terminal.getvalue()
    assert "acme/poet" in shown
    assert "pinned" not in shown  # no model is: so there is room for other columns
    assert shown.index("\x1b[?1049h") < shown.index("acme/poet") < shown.index("\x1b[?1049l")


@pytest.mark.parametrize(("columns", "shown"), [("200", True), ("60", False)])
def test_a_narrow_terminal_shows_what_matters_most(
    worker: StubWorker, monkeypatch: pytest.MonkeyPatch, columns: str, shown: bool
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    failed = {"kind": "crash", "at": 990.0, "text": "exit status 1"}
    worker.answers[EVENTS] = (
        200,
        sse(("state", state(engine(last_failure=failed), leaving=True))),
    )
    terminal = Terminal()
    top(WorkerClient(worker.url), Output(terminal, {"TERM": "xterm"}), as_json=False)
    assert "crash 10 s" in terminal.getvalue()
    assert ("next out" in terminal.getvalue()) is shown


def test_ctrl_c_ends_top_cleanly(
    worker: StubWorker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    worker.answers[EVENTS] = (200, sse(("state", state(engine()))))

    def interrupted(_: Output) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Output, "flush", interrupted)
    assert main(["top"]) == 0
    assert capsys.readouterr().err == ""


def test_ctrl_c_in_a_deed_is_no_success(
    worker: StubWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.answers["/admin/models/a/load?wait=1"] = (200, {"ids": [], "engines": []})

    def interrupted(_: Output) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Output, "flush", interrupted)
    assert main(["load", "a", "--wait"]) == 130


def test_logs_are_what_engines_have_printed(
    worker: StubWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    worker.answers["/admin/models/acme/poet/logs"] = (200, {"lines": ["one", "two \x1b[0m"]})
    assert main(["logs", "acme/poet"]) == 0
    assert capsys.readouterr().out == "one\ntwo ?[0m\n"


def test_a_character_that_the_output_can_not_encode_is_written_as_its_number(
    worker: StubWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.answers["/admin/models/acme/poet/logs"] = (200, {"lines": ["100%|\u2588|", "next"]})
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="latin-1"))
    assert main(["logs", "acme/poet"]) == 0
    assert written.getvalue() == b"100%|\\u2588|\nnext\n"


def test_logs_go_on_if_asked_to(worker: StubWorker, capsys: pytest.CaptureFixture[str]) -> None:
    worker.answers["/admin/models/acme/poet/logs?follow=1"] = (
        200,
        sse(("lines", {"lines": ["one"]}), ("lines", {"lines": ["two"]})),
    )
    assert main(["logs", "-f", "acme/poet"]) == 0
    assert capsys.readouterr().out == "one\ntwo\n"


def test_a_disk_without_room_stands_out(worker: StubWorker) -> None:
    full = {"used_bytes": GIB, "budget_bytes": 2 * GIB, "free_bytes": 1, "reserve_bytes": GIB}
    worker.answers[EVENTS] = (200, sse(("state", state(leaving=True) | {"disk": full})))
    terminal = Terminal()
    top(WorkerClient(worker.url), Output(terminal, {"TERM": "xterm"}), as_json=False)
    assert "\x1b[1;31mdisk      1.0 GiB of 2.0 GiB used" in terminal.getvalue()
