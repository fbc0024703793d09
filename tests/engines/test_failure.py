from __future__ import annotations

import pytest

from engines.failure import FailureReason, clean


def failure_of(log: str) -> FailureReason:
    failure = FailureReason()
    for line in log.splitlines():
        failure.add(line)
    return failure


OUT_OF_MEMORY = """\
[2026-01-31 12:00:00 TP0] Load weight begin. avail mem=21.93 GB
[2026-01-31 12:00:01 TP0] Scheduler hit an exception: Traceback (most recent call last):
  File "scheduler.py", line 1, in run_scheduler_process
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.

[2026-01-31 12:00:01] Received sigquit from a child process. It usually means the child failed.
"""

CLAIM_TOO_SMALL = """\
[2026-01-31 12:00:01 TP0] Scheduler hit an exception: Traceback (most recent call last):
RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.
[2026-01-31 12:00:01] Received sigquit from a child process. It usually means the child failed.
"""

BAD_FLAG = """\
usage: launch_server.py [-h] --model-path MODEL_PATH
launch_server.py: error: unrecognized arguments: --no-such-flag
"""


def test_the_reason_is_the_last_error_not_the_last_line() -> None:
    reason = str(failure_of(OUT_OF_MEMORY))
    assert reason == "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."


def test_argparse_says_what_was_wrong() -> None:
    assert str(failure_of(BAD_FLAG)).endswith("unrecognized arguments: --no-such-flag")


def test_without_an_error_the_reason_is_the_last_line() -> None:
    assert (
        str(failure_of("[2026-01-31 12:00:00] Load weight begin.\n\n")) == "Load weight begin."
    )


def test_a_silent_engine_leaves_no_reason() -> None:
    assert str(failure_of("")) == ""


def test_running_out_of_device_memory_is_recognized() -> None:
    assert failure_of(OUT_OF_MEMORY).out_of_memory


@pytest.mark.parametrize("log", [CLAIM_TOO_SMALL, BAD_FLAG, "Killed"])
def test_what_a_smaller_start_would_not_cure_is_not_out_of_memory(log: str) -> None:
    assert not failure_of(log).out_of_memory


def test_an_endless_line_does_not_become_an_endless_reason() -> None:
    assert len(str(failure_of("ValueError: " + "x" * 100_000))) < 1000


def test_an_engine_can_not_color_or_rewrite_the_log() -> None:
    assert clean("\x1b[1;33mold\x1b[0m\x1b[2K\rnew\x07") == "old[2Knew"
