"""The log escapes text from strangers. The pool's journal is closed to others, and contains
nothing from which a key could be guessed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.caller import Caller
from tests.e2e.harness import Harness
from tests.eventually import eventually
from tests.fake_engine import FILE, behaviour
from tests.servable import servable
from tests.worker import Worker

KEY = "letmein1"
FORGED = "2026-01-31T12:00:00.000Z CRITICAL router: all is well"
BREAKS = ("\n", "\r", "\x85", "\u2028", "\x0b")
UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\ud800-\udfff]")


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pool") / "journal.jsonl"
    path.touch(0o666)
    path.chmod(0o666)
    return path


@pytest.fixture(scope="module")
def worker(harness: Harness, journal: Path) -> Iterator[Worker]:
    environ = {"API_KEYS": KEY, "POOL_JOURNAL": str(journal), "LOG_LEVEL": "DEBUG"}
    with harness.worker(**environ) as worker:
        yield worker


async def test_strangers_write_no_line_of_the_log(
    harness: Harness, worker: Worker, caller: Caller
) -> None:
    for number, line_break in enumerate(BREAKS):
        text = f"x{line_break}{FORGED}\x1b[31m\x9b\u202e"
        words = behaviour(die_at_start=1, last_words=f"ValueError: {text}")
        for kind, config in (("config", {text: {text: 1}}), ("engine", {})):
            files = {
                **servable(**config),
                "model.safetensors": b"x" * 1000,
                FILE: words,
            }
            harness.hub.add_repo(f"evil/{kind}-{number}", files)
            await caller.chat(f"evil/{kind}-{number}", key=KEY)
        for name in (text, f"evil/{text}", f"evil/m@{text}"):
            await caller.chat(name, key=KEY)
    await eventually(lambda: worker.log.count("ValueError") >= len(BREAKS))
    assert [line for line in worker.lines if line.startswith(FORGED[:20])] == []
    for line in worker.log.split("\n")[:-1]:
        assert re.match(r"20[\d-]+T[\d:.]+Z [A-Z]+ +[\w.]+: |  \| ", line), line
        assert not UNSEEN.search(line), line


def read(path: Path) -> tuple[int, str]:
    return path.stat().st_mode & 0o777, path.read_text()


async def test_the_journal_is_the_operators_and_shows_no_key(
    harness: Harness, worker: Worker, caller: Caller, journal: Path
) -> None:
    model = harness.model("acme/model")
    assert (await caller.chat(model, key=KEY)).status == 200
    await eventually(lambda: model in journal.read_text())
    mode, written = read(journal)
    assert mode == 0o600
    written += worker.log
    assert KEY not in written
    for kind in ("md5", "sha1", "sha256", "sha512", "blake2b", "blake2s"):
        assert hashlib.new(kind, KEY.encode()).hexdigest()[:12] not in written
