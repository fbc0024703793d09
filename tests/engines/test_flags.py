from __future__ import annotations

from pathlib import Path

import pytest

from engines.flags import (
    FLAGS,
    GONE,
    GONE_VALUES,
    can_wait,
    flags,
    refuse_reserved,
    warnings,
)
from router.config.errors import SettingsError
from tests.config.test_settings import TRUE_AND_FALSE

SGLANG_PYTHON = Path(__file__).parents[2] / ".venv-sglang/bin/python"

VALUES = {name: flag for name, flag in FLAGS.items() if not flag.is_switch}
SWITCHES = {name: flag for name, flag in FLAGS.items() if flag.is_switch}

# A realistic value for each variable.
EXAMPLES = {
    "TOKENIZER_PATH": "/models/tokenizer",
    "TOKENIZER_MODE": "slow",
    "LOAD_FORMAT": "safetensors",
    "DTYPE": "bfloat16",
    "CONTEXT_LENGTH": "8192",
    "QUANTIZATION": "awq_marlin",
    "CHAT_TEMPLATE": "chatml",
    "MEM_FRACTION_STATIC": "0.8",
    "MAX_RUNNING_REQUESTS": "32",
    "MAX_TOTAL_TOKENS": "65536",
    "CHUNKED_PREFILL_SIZE": "-1",
    "MAX_PREFILL_TOKENS": "16384",
    "SCHEDULE_POLICY": "lpm",
    "SCHEDULE_CONSERVATIVENESS": "0.5",
    "TENSOR_PARALLEL_SIZE": "2",
    "DATA_PARALLEL_SIZE": "2",
    "LOAD_BALANCE_METHOD": "round_robin",
    "STREAM_INTERVAL": "2",
    "RANDOM_SEED": "42",
    "LOG_LEVEL_HTTP": "error",
    "FILE_STORAGE_PATH": "storage",
    "ATTENTION_BACKEND": "flashinfer",
    "SAMPLING_BACKEND": "pytorch",
    "TOOL_CALL_PARSER": "qwen25",
    "REASONING_PARSER": "mistral",
}


def test_a_variable_becomes_its_flag() -> None:
    assert flags({"CONTEXT_LENGTH": "8192", "PATH": "/bin"}) == ("--context-length=8192",)


def test_a_flag_is_named_as_its_variable() -> None:
    for name, flag in VALUES.items():
        assert flag.words == (f"--{name.lower().replace('_', '-')}",)


def test_an_empty_variable_counts_as_unset() -> None:
    assert flags(dict.fromkeys((*VALUES, *SWITCHES, "ENGINE_ARGS"), "")) == ()


@pytest.mark.parametrize(
    "name", [n for n, f in VALUES.items() if f.setting.kind.form == "number"]
)
def test_a_number_is_checked_before_any_engine_starts(name: str) -> None:
    for text in ("-1", "8192", "0.85"):
        assert flags({name: text}) == (f"{VALUES[name].words[0]}={text}",)
    with pytest.raises(SettingsError, match=f"{name}='lots': must be a number"):
        flags({name: "lots"})


@pytest.mark.parametrize("name", SWITCHES)
def test_every_switch_takes_the_words_of_every_boolean(name: str) -> None:
    for text, on in TRUE_AND_FALSE:
        assert flags({name: text}) == (SWITCHES[name].words if on else ())
    with pytest.raises(SettingsError, match=f"{name}='enabled': must be true or false"):
        flags({name: "enabled"})


def test_engine_args_are_read_as_a_shell_would_and_come_last() -> None:
    environ = {"ENGINE_ARGS": "--dtype half --chat-template 'my template'", "DTYPE": "auto"}
    assert flags(environ) == (
        *("--dtype=auto", "--dtype", "half", "--chat-template", "my template"),
    )


@pytest.mark.parametrize("text", ["--port 1", "--hos=0.0.0.0", "--api-key x", "--model a/b"])
def test_what_the_router_sets_is_not_the_operators(text: str) -> None:
    with pytest.raises(SettingsError, match="set by the router") as refused:
        flags({"ENGINE_ARGS": text})
    assert refused.value.key == "ENGINE_ARGS"


@pytest.mark.parametrize(
    "text",
    [
        *("--api_key x", "--admin_api_key=x", "--tokenizer-worker-num 2", "--grpc_port 1"),
        *("--enable-http2", "--use_ray", "--ssl-certfile x", "--gated-launch-port 1", "--smg"),
    ],
)
def test_a_flag_that_opens_another_port_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="set by the router"):
        flags({"ENGINE_ARGS": text})


def test_a_value_may_look_like_a_flag_of_the_routers() -> None:
    refuse_reserved("flags", ("--chat-template=--port", "--dtype", "half"))


@pytest.mark.parametrize(
    "text", ["--dp-size 2", "--data_parallel=2", "--nnod 2", "--attn-dp=2"]
)
def test_an_engine_of_several_gates_does_not_wait(text: str) -> None:
    assert not can_wait(flags({"ENGINE_ARGS": text}))


def test_other_engines_can_wait() -> None:
    assert can_wait(flags({"ENGINE_ARGS": "--tp-size 2 --dtype half"}))


def test_a_quote_that_never_ends_is_refused() -> None:
    with pytest.raises(SettingsError, match="quot"):
        flags({"ENGINE_ARGS": "--dtype 'half"})


@pytest.mark.parametrize(("name", "value"), GONE_VALUES)
def test_a_value_that_is_gone_is_left_out_with_a_warning(name: str, value: str) -> None:
    assert flags({name: value}) == ()
    assert f"{name}={value}" in warnings({name: value})[0]


@pytest.mark.parametrize("name", GONE)
def test_a_variable_that_is_gone_is_left_out_with_a_warning(name: str) -> None:
    assert flags({name: "true"}) == ()
    assert name in warnings({name: "true"})[0]


def test_a_warning_does_not_repeat_a_key() -> None:
    assert "hunter2" not in warnings({"API_KEY": "hunter2"})[0]


def test_what_works_is_not_warned_about() -> None:
    assert warnings(EXAMPLES | dict.fromkeys(SWITCHES, "true")) == ()
