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

NO_IMPLEMENTATION = (
    "ValueError: BloomForCausalLM has no SGlang implementation and the Transformers "
    "implementation is not compatible with SGLang."
)

BAD_FLAG = """\
usage: launch_server.py [-h] --model-path MODEL_PATH
launch_server.py: error: unrecognized arguments: --no-such-flag
"""


def test_the_reason_is_the_last_error_not_the_last_line() -> None:
    reason = str(failure_of(OUT_OF_MEMORY))
    assert reason == "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."


def test_argparse_says_what_was_wrong() -> None:
    assert str(failure_of(BAD_FLAG)).endswith("unrecognized arguments: --no-such-flag")


def test_a_line_that_is_no_error_is_no_reason_but_shows_how_far_it_came() -> None:
    failure = failure_of("[2026-01-31 12:00:00] The server is fired up and ready to roll!\n\n")
    assert str(failure) == ""
    assert failure.last == "The server is fired up and ready to roll!"


def test_an_error_of_the_start_or_of_long_ago_is_no_reason() -> None:
    failure = failure_of(OUT_OF_MEMORY)
    failure.started()
    assert str(failure) == ""
    failure.add("ValueError: bad request")
    for _ in range(100):
        failure.add("[2026-01-31 12:00:00] GET /v1")
    assert str(failure) == ""


def test_a_silent_engine_leaves_no_reason() -> None:
    assert str(failure_of("")) == ""


def test_running_out_of_device_memory_is_recognized() -> None:
    assert failure_of(OUT_OF_MEMORY).out_of_memory


@pytest.mark.parametrize("log", [CLAIM_TOO_SMALL, BAD_FLAG, "Killed"])
def test_what_a_smaller_start_would_not_cure_is_not_out_of_memory(log: str) -> None:
    assert not failure_of(log).out_of_memory


def test_an_endless_line_does_not_become_an_endless_reason() -> None:
    assert len(str(failure_of("ValueError: " + "x" * 100_000))) < 1000


def test_a_caller_hears_the_last_exception() -> None:
    assert failure_of(OUT_OF_MEMORY).told == (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
    )


def test_a_message_that_begins_below_its_exception_is_told() -> None:
    log = (
        "ImportError: \n\nXTokenizer requires the y library but it was not found.\nPlease note"
    )
    assert failure_of(log).told.endswith(
        "Error: XTokenizer requires the y library but it was not found"
    )


@pytest.mark.parametrize(
    "below",
    ["[2026-01-31 12:00:01] Received sigquit", "Traceback (most recent call last):", ""],
)
def test_another_line_is_no_message_of_an_exception(below: str) -> None:
    assert failure_of(f"KeyError:\n{below}").told == "KeyError:"


@pytest.mark.parametrize("log", ["", BAD_FLAG, "[2026-01-31 12:00:00] GET /v1", "Killed"])
def test_a_caller_hears_nothing_that_is_no_exception(log: str) -> None:
    assert failure_of(log).told == ""


def test_a_caller_hears_no_path_no_token_and_one_short_line() -> None:
    token = "hf_" + "a" * 34
    failure = FailureReason()
    failure.add(f"OSError: no file at /root/.cache/hub/x \u2028\x1b[31m {token}, {'y' * 5000}")
    told = failure.told
    assert told.startswith("OSError: no file at <path>")
    assert token not in told
    assert told.isprintable()
    assert len(told) == 300


@pytest.mark.parametrize(
    "line",
    [
        "ValueError: Model architectures ['X'] are not supported for now. Supported: {...}",
        NO_IMPLEMENTATION,
        "ValueError: Cannot find model module. 'X' is not a registered model in the ...",
        "ValueError: The checkpoint you are trying to load has model type `x` but ...",
        "ValueError: Unrecognized model in /snapshots/x. Should have a `model_type` key ...",
        "ValueError: Unknown quantization method: hqq. Must be one of ['fp8'].",
        "ValueError: The quantization method fp8 is not supported for the current GPU. Minimum",
        "ValueError: The repository /snapshots/x contains custom code which must be executed",
        "ModuleNotFoundError: You need to install fugashi to use MecabTokenizer. See https://x",
        "ModuleNotFoundError: The ipadic dictionary is not installed. See https://x",
        "ImportError: \nX requires the y library but it was not found in your environment.",
        "ImportError: This modeling file requires the following packages that were not found i",
    ],
)
def test_what_no_further_start_would_help_is_recognized(line: str) -> None:
    assert failure_of(line).unsupported


@pytest.mark.parametrize(
    "line",
    [
        *("ValueError: bad", "RuntimeError: Unknown quantization method: hqq.", "Killed", ""),
        "ValueError: it says: Unknown quantization method: hqq.",
    ],
)
def test_everything_else_may_be_better_at_the_next_start(line: str) -> None:
    assert not failure_of(line).unsupported


def test_an_engine_can_not_color_or_rewrite_the_log() -> None:
    assert clean("\x1b[1;33mold\x1b[0m\x1b[2K\rnew\x07") == "old[2Knew"


def test_half_of_a_token_is_not_left_at_the_end_of_the_last_line() -> None:
    token = "hf_" + "a" * 34
    failure = failure_of("x" * 490 + " " + token)
    assert "hf_" not in failure.last
    assert len(failure.last) <= 500
