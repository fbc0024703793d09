from __future__ import annotations

import secrets

from router.pool.engine_log import LINES, MODELS, SIZE, EngineLog
from router.redaction import Redactor
from router.secrets import Secret


def test_the_last_lines_of_each_model_are_kept() -> None:
    log = EngineLog(str)
    for number in range(LINES + 5):
        log.add("org/a", f"line {number}")
    log.add("org/b", "other")
    assert len(log.lines("org/a")) == LINES
    assert log.lines("org/a")[-1] == f"line {LINES + 4}"
    assert log.lines("org/b") == ("other",)
    assert log.lines("org/unknown") == ()


def test_long_lines_leave_room_for_fewer() -> None:
    log = EngineLog(str)
    for _ in range(100):
        log.add("org/a", "x" * 8000)
    assert 8000 <= sum(map(len, log.lines("org/a"))) <= SIZE


def test_the_model_that_was_silent_for_longest_goes_first() -> None:
    log = EngineLog(str)
    for number in range(MODELS):
        log.add(f"org/{number}", "hello")
    log.add("org/0", "again")
    log.add("org/new", "hello")
    assert log.lines("org/0") == ("hello", "again")
    assert log.lines("org/1") == ()


async def test_no_secret_is_kept_or_sent() -> None:
    token, key = "hf_" + secrets.token_hex(16), secrets.token_hex(16)
    log = EngineLog(Redactor([Secret(key)]))
    with log.follow("org/a") as follower:
        log.add("org/a", f"read with {token} and {key}")
        told = [*log.lines("org/a"), await follower.get()]
    assert token not in str(told)
    assert key not in str(told)
    log.add("org/a", "nobody follows")
    assert not log._feeds
