"""The demo reports failures and leaves no process behind. Run with the fake engine."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from examples.demo import main
from tests.examples.demo_with_fake_engine import show_with_fake_engine
from tests.worker import ROOT

FAKE = "tests.examples.demo_with_fake_engine"
WITHIN = 120.0  # seconds; far more than anything here takes

Capture = pytest.CaptureFixture[str]


def test_it_succeeds_if_every_check_passes(capsys: Capture) -> None:
    assert show_with_fake_engine() == 0
    printed = capsys.readouterr().out
    assert "✗" not in printed
    assert "I am cherry." in printed
    assert "3 pieces" in printed
    assert "evicted alice/apple, started bob/cherry" in printed
    assert re.search(r"Its log on engines:\n.*alice/apple.* is ready after", printed)
    assert not re.search(r"hf_\w{8}", printed), "a token was printed"


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"cherry": {"answer": "I am apple."}}, id="another model answers"),
        pytest.param({"banana": {"error": 500}}, id="an engine fails"),
    ],
)
def test_it_fails_if_an_answer_is_wrong(wrong: Mapping[str, Any], capsys: Capture) -> None:
    assert show_with_fake_engine(**wrong) == 1
    assert "✗" in capsys.readouterr().out


def test_it_shows_the_log_if_an_engine_does_not_start(capsys: Capture) -> None:
    assert show_with_fake_engine(apple={"die_at_start": 1, "last_words": "no such chip"}) == 1
    printed = capsys.readouterr().out
    assert "502 engine_failed" in printed or "503 engine_unavailable" in printed
    assert "no such chip" in printed[printed.index("The last lines of the worker's log:") :]


def test_it_says_how_to_get_a_missing_engine(tmp_path: Path, capsys: Capture) -> None:
    assert main(keep=False, engine_python=tmp_path / "python") == 2
    assert "`make demo` creates it" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["The worker starts.", "the same again"])
def test_an_interrupt_leaves_no_process_behind(
    moment: str, number: signal.Signals, tmp_path: Path
) -> None:
    with showing(tmp_path, apple={"tokens": 100_000, "interval": 0.01}) as demo:
        demo.says(moment)
        demo.process.send_signal(number)
        demo.process.send_signal(number)  # a second Ctrl-C changes nothing
        assert demo.process.wait(WITHIN) == 128 + signal.SIGINT
        assert demo.processes() == []


def test_with_keep_it_serves_the_printed_requests_until_interrupted(tmp_path: Path) -> None:
    with showing(tmp_path, "--keep") as demo:
        variables, *curls = _commands(demo.says("throw-away"))
        [ps, logs, serve] = _commands(demo.says("The worker's log, from here on:"))
        answers = [_shell(f"{variables}; {curl}") for curl in curls]
        expected = ("bob/cherry", "apple.", "[DONE]", "model_gated", "banana.", "cherry.")
        for found, answer in zip(expected, answers, strict=True):
            assert found in answer
        demo.says("model_gated 403")  # the worker's log
        assert "bob/cherry" in _shell(f"{variables}; {ps}")
        assert "ready to roll" in _shell(f"{variables}; {logs}")
        assert serve.endswith(" -m router serve --port 8001")
        # It must find the same Hub and the same engines.
        assert "verdict     ok" in _shell(
            f"{variables}; {ps.removesuffix('ps')} check alice/apple"
        )
        demo.process.send_signal(signal.SIGINT)
        assert demo.process.wait(WITHIN) == 0
        assert demo.processes() == []


class Demo:
    """The demo in its own process. All its files are below `directory`."""

    def __init__(self, process: subprocess.Popen[bytes], directory: Path) -> None:
        self.process = process
        self._directory = directory
        self._printed = b""  # printed, but not read by the test yet

    def says(self, text: str) -> str:
        """The output from now on, up to and including `text`."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + WITHIN
        while text.encode() not in self._printed:
            left = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self.process.stdout], [], [], left)
            piece = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            assert piece, self._printed.decode()
            self._printed += piece
        before, found, self._printed = self._printed.partition(text.encode())
        return (before + found).decode()

    def processes(self) -> list[int]:
        """The demo and its descendants: each has the directory in its environment."""
        word = f"{self._directory}/".encode()
        return [
            int(entry.name)
            for entry in Path("/proc").glob("[0-9]*")
            if word in _environment(entry)
        ]


def _environment(entry: Path) -> bytes:
    try:
        return (entry / "environ").read_bytes()
    except OSError:  # it has ended, or is another user's
        return b""


@contextmanager
def showing(directory: Path, *options: str, **engines: Mapping[str, Any]) -> Iterator[Demo]:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.examples.demo_with_fake_engine",
            json.dumps(engines),
            *options,
        ],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(directory), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
    )
    demo = Demo(process, directory)
    try:
        with process:
            try:
                yield demo
            finally:
                process.kill()
    finally:
        for pid in demo.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _commands(printed: str) -> list[str]:
    return [
        line
        for line in map(str.strip, printed.splitlines())
        if re.match(r"\. |curl |\S+ -m router ", line)
    ]


def _shell(command: str) -> str:
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, check=True, timeout=WITHIN
    )
    return done.stdout.decode()
