"""`plan`: from a log of requests to groups of models and a number of workers."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.cli import _parser
from router.commands.plan.command import as_trace, plan_command
from router.commands.plan.request_log import LONGEST_LINE, RequestLog, read_log
from router.commands.plan.sizes import Sizes

GB = 10**9
HOUR = 3600


def entry(at: float, model: str = "acme/a", **more: object) -> dict[str, Any]:
    """A log entry of a request that took 2 s."""
    told = {"model": model, "outcome": "ok", "temperature": "hit", "began": 1.7e9 + at}
    return {**told, "queue_ms": 0.0, "load_ms": None, "total_ms": 2000.0, **more}


def cold(at: float, model: str, seconds: float) -> dict[str, Any]:
    ms = seconds * 1000
    return entry(at, model, temperature="cold", load_ms=ms, total_ms=ms + 2000)


def in_turns(models: int, every: float = 20.0) -> list[dict[str, Any]]:
    """An hour in which the models are requested one after another."""
    count = int(HOUR / every)
    return [entry(n * every, f"acme/m{n % models}") for n in range(count)]


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    return path


def plan(*arguments: object) -> int:
    return plan_command(_parser().parse_args(["plan", *map(str, arguments)]))


def planned(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    plan(*arguments, "--json")
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_models_that_are_asked_for_in_turns_and_do_not_fit_together_get_workers_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = write(tmp_path / "log", in_turns(2))
    found = planned(capsys, log, "--gpu-memory", "20GB", "--sizes", sizes(tmp_path, 2, 15))
    assert found["keeps_to_wait"]
    assert [one["workers"] for one in found["plans"]] == [1, 2]
    assert [one["models"] for one in found["groups"]] == [["acme/m0"], ["acme/m1"]]
    alone, both = found["plans"]
    assert alone["split"]["cold_starts"] > 20
    assert both["split"]["cold_starts"] == both["affinity"]["cold_starts"] == 2
    assert both["queue"]["cold_starts"] > 20


def sizes(folder: Path, models: int, size: int) -> Path:
    file = folder / "check.json"
    told = [
        {"model": f"acme/m{n}", "memory": {"claim_bytes": size * GB}, "start_seconds": 30.0}
        for n in range(models)
    ]
    file.write_text(
        json.dumps({"can_be_served": True, "models": told, "budget_bytes": 80 * GB})
    )
    return file


def test_models_that_fit_together_need_one_worker(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = write(tmp_path / "log", in_turns(3))
    assert plan(log, "--sizes", sizes(tmp_path, 3, 20)) == 0
    out = capsys.readouterr().out
    assert "below 30 s: one endpoint for all models." in out
    assert "180 requests of 3 models" in out


def test_a_wait_that_no_fleet_keeps_to_is_told_by_the_exit_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = write(tmp_path / "log", in_turns(9, every=5.0))
    tight = ("--gpu-memory", "20GB", "--sizes", sizes(tmp_path, 9, 15))
    assert plan(log, *tight, "--workers", "2", "--wait", "1") == 1
    assert "Not even 2 workers" in capsys.readouterr().out


def test_where_first_starts_alone_are_too_long_more_workers_are_not_advised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = write(tmp_path / "log", in_turns(9, every=100.0))
    roomy = ("--sizes", sizes(tmp_path, 9, 5), "--workers", "2", "--wait", "20")
    assert plan(log, *roomy) == 1
    told = capsys.readouterr().out
    assert "No number of workers keeps 95 of 100 waits below 20 s: 9 of 36 requests" in told
    assert "--workers" not in told


def test_sizes_are_those_of_each_replica_of_a_fleet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def replica(model: str, size: int) -> dict[str, Any]:
        engine = {"model": model, "claim_bytes": size * GB, "last_start": {"seconds": 7.0}}
        return {"devices": [{"budget_bytes": 24 * GB}], "engines": [engine]}

    fleet = [replica("acme/m0", 3), None, replica("acme/m1", 4)]
    file = tmp_path / "fleet.json"
    file.write_text(json.dumps({"replicas": [{"replica": "a", "state": one} for one in fleet]}))
    found = planned(capsys, write(tmp_path / "log", in_turns(2)), "--sizes", file)
    assert [one["memory_bytes"] for one in found["models"]] == [3 * GB, 4 * GB]
    assert found["budget_bytes"] == 24 * GB


def test_sizes_are_those_of_a_check_or_of_a_workers_state_and_starts_those_of_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [*in_turns(3), cold(3700, "acme/m2", 55.0)]
    state = tmp_path / "ps.json"
    engine = {"model": "acme/m1", "claim_bytes": 30 * GB, "last_start": {"seconds": 70.0}}
    told = {
        "engines": [engine],
        "devices": [{"budget_bytes": 90 * GB}],
        "models": [{"id": "x"}],
    }
    state.write_text(json.dumps(told))
    both = ("--sizes", sizes(tmp_path, 1, 20), "--sizes", state)
    found = planned(capsys, write(tmp_path / "log", records), *both)
    assert found["budget_bytes"] == 90 * GB
    assert [
        (one["model"], one["memory_bytes"], one["start_seconds"]) for one in found["models"]
    ] == [
        ("acme/m0", 20 * GB, 30.0),
        ("acme/m1", 30 * GB, 70.0),
        ("acme/m2", 25 * GB, 55.0),
    ]
    assert found["guessed"]["models_without_memory"] == 1


def test_bad_lines_are_counted_and_named_and_change_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = write(tmp_path / "log", in_turns(2))
    good = planned(capsys, log)
    bad = [b"no JSON\n", b"[1]\n", json.dumps(entry(1, began="x")).encode() + b"\n", b"\xff\n"]
    other = json.dumps({"logger": "router", "message": "ready"}).encode() + b"\n"
    log.write_bytes(b"".join([*bad, other, b"\n", log.read_bytes()]))
    found = planned(capsys, log)
    assert (found["bad_lines"], len(found["bad"])) == (4, 4)
    assert found["bad"][2] == "line 3: began is not a number"
    assert found["plans"] == good["plans"]


@pytest.mark.parametrize("indent", [None, 1])
def test_an_activity_export_is_read_as_the_lines_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], indent: int | None
) -> None:
    lines = planned(capsys, write(tmp_path / "log", in_turns(2)))
    export = tmp_path / "activity.json"
    latest_first = {"running": [], "ended": in_turns(2)[::-1]}
    export.write_text(json.dumps(latest_first, indent=indent))
    found = planned(capsys, export)
    assert found["requests"] == lines["requests"]
    assert found["plans"] == lines["plans"]


def test_of_a_long_log_the_busiest_time_is_simulated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet = [entry(n * 100.0, "acme/quiet") for n in range(100)]
    busy = [entry(20_000 + n, "acme/busy") for n in range(50)]
    found = planned(capsys, write(tmp_path / "log", quiet + busy), "--requests", "50")
    assert (found["requests"], found["simulated_requests"]) == (150, 50)
    assert sum(one["requests"] for one in found["groups"]) == 50
    assert found["plans"][0]["split"]["cold_starts"] == 1


def test_a_long_log_takes_memory_for_the_part_that_is_simulated() -> None:
    log = RequestLog()
    for number in range(20_000):
        log.add(entry(20_000.0 - number))
    tracemalloc.start()
    try:
        trace, _ = as_trace(log, Sizes({}), 80 * GB, 10)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(trace.requests), trace.lasts) == (10, 9.0)
    assert most / len(log.at) < 100  # bytes


def test_an_answer_took_what_its_request_did_not_wait() -> None:
    told = entry(5, queue_ms=3000.0, load_ms=5000.0, total_ms=10_000.0)
    log = read_log(io.BytesIO(json.dumps(told).encode()))
    assert list(log.seconds) == [2.0]


def test_what_can_not_be_read_is_wrong_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged, empty = tmp_path / "damaged", tmp_path / "empty"
    damaged.write_text("no JSON\n")
    empty.touch()
    log = write(tmp_path / "log", in_turns(2))
    assert plan(tmp_path / "missing") == 2
    assert plan(empty) == 2
    assert plan(log, "--sizes", damaged) == 2
    assert plan(log, "--gpu-memory", "much") == 2
    capsys.readouterr()
    assert plan(damaged) == 2
    told = capsys.readouterr().err
    assert "the worker must have run with LOG_FORMAT=json; line 1: not JSON" in told


def test_each_wrong_file_is_told_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = write(tmp_path / "log", in_turns(2))
    packed, empty, export = tmp_path / "log.gz", tmp_path / "empty", tmp_path / "activity"
    packed.write_bytes(gzip.compress(log.read_bytes()))
    empty.touch()
    export.write_text('{"running": [], "ended": []}')
    said = {
        tmp_path: f"{tmp_path}: Is a directory",
        packed: "`gunzip -c FILE | model-router plan -`",
        empty: "the log is empty",
        export: "of 0 requests of the activity, 0 could not be read",
    }
    for file, words in said.items():
        assert plan(file) == 2
        told = capsys.readouterr().err
        assert words in told
        assert "Errno" not in told


def test_a_request_of_a_wrong_clock_is_a_bad_line_and_stretches_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ahead = entry(600), entry(86400.0 * 365)  # a clock may be some minutes fast, but not a year
    log = write(tmp_path / "log", [*in_turns(1), *ahead])
    chosen = _parser().parse_args(["plan", str(log), "--json"])
    plan_command(chosen, now=lambda: 1.7e9 + HOUR)
    found = json.loads(capsys.readouterr().out)
    assert found["requests"] == 181
    assert found["bad"] == ["line 182: began is in the future"]


def test_a_plan_from_few_requests_says_that_it_is_worth_little(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan(write(tmp_path / "log", [entry(0)]))
    assert "fewer than 100 requests" in capsys.readouterr().out
    plan(write(tmp_path / "log", in_turns(2)))
    assert "fewer than" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "value"),
    [("--wait", "0"), ("--wait", "nan"), ("--workers", "x"), ("--requests", "0")],
)
def test_a_number_that_makes_no_sense_is_refused(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        plan(write(tmp_path / "log", in_turns(2)), option, value)
    assert ended.value.code == 2
    assert f"{option}: it must be a" in capsys.readouterr().err


def test_a_name_that_is_no_text_is_a_bad_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    log.write_text(json.dumps({**entry(1), "model": "org/\ud800"}))
    assert plan(log) == 2
    assert "line 1: model is not text" in capsys.readouterr().err


HUGE = "1" + "0" * 400  # no float
HUGE_ENGINE = (
    '{"engines": [{"model": "acme/m0", "claim_bytes": %s, "last_start": {"seconds": %s}}]}'
)


@pytest.mark.parametrize(
    "told",
    [
        *('{"budget_bytes": Infinity}', "[" * 100_000, "\x00"),
        *(f'{{"budget_bytes": {HUGE}}}', HUGE_ENGINE % (HUGE, 1), HUGE_ENGINE % (1, HUGE)),
        f'{{"devices": [{{"budget_bytes": {HUGE}}}, {{"budget_bytes": 0.5}}]}}',
    ],
)
def test_sizes_that_make_no_sense_end_in_no_traceback(told: str, tmp_path: Path) -> None:
    sizes = tmp_path / "sizes"
    sizes.write_text(told)
    log = write(tmp_path / "log", in_turns(2))
    assert plan(log, "--sizes", str(sizes)) in (0, 1, 2)


def test_a_line_without_end_takes_no_more_memory_than_a_line_may() -> None:
    log = read_log(
        io.BytesIO(b"x" * (3 * LONGEST_LINE) + b"\n" + json.dumps(entry(1)).encode())
    )
    assert (log.lines, log.bad, len(log.at)) == (2, 1, 1)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-1", "1e300", "1" + "0" * 400])
@pytest.mark.parametrize("name", ["began", "queue_ms", "load_ms", "total_ms"])
def test_a_number_beyond_all_measurements_is_a_bad_line(name: str, number: str) -> None:
    line = json.dumps({**entry(1), name: "?"}).replace('"?"', number)
    log = read_log(io.BytesIO(line.encode()))
    assert log.named == [f"line 1: {name} is out of range"]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
)
RECORDS = st.dictionaries(st.sampled_from(sorted(entry(0))), JSON) | st.builds(
    entry, st.floats()
)


@given(
    lines=st.lists(
        st.binary(max_size=30) | st.builds(lambda one: json.dumps(one).encode(), RECORDS)
    )
)
def test_any_bytes_are_read_line_by_line_and_each_line_counts_once(lines: list[bytes]) -> None:
    log = read_log(io.BytesIO(b"[]\n" + b"\n".join(lines)))
    assert log.bad + log.others + len(log.at) <= log.lines
    assert len(log.at) == len(log.model) == len(log.seconds)
    assert sum(use.requests for use in log.uses) == len(log.at)
