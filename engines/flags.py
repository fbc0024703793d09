"""SGLang's command line as an operator sets it: by the variables of RunPod's former
SGLang worker (runpod-workers/worker-sglang, `engine.py`, which ran SGLang 0.5.2), and by
`ENGINE_ARGS`, which is any text that SGLang's own command line takes.

What SGLang 0.5.23 no longer knows is left out with a warning: an unknown flag or value
ends the engine's start, and here that would be every model's.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

VALUES = MappingProxyType(
    {
        "TOKENIZER_PATH": "--tokenizer-path",
        "TOKENIZER_MODE": "--tokenizer-mode",
        "LOAD_FORMAT": "--load-format",
        "DTYPE": "--dtype",
        "CONTEXT_LENGTH": "--context-length",
        "QUANTIZATION": "--quantization",
        "CHAT_TEMPLATE": "--chat-template",
        "MEM_FRACTION_STATIC": "--mem-fraction-static",
        "MAX_RUNNING_REQUESTS": "--max-running-requests",
        "MAX_TOTAL_TOKENS": "--max-total-tokens",
        "CHUNKED_PREFILL_SIZE": "--chunked-prefill-size",
        "MAX_PREFILL_TOKENS": "--max-prefill-tokens",
        "SCHEDULE_POLICY": "--schedule-policy",
        "SCHEDULE_CONSERVATIVENESS": "--schedule-conservativeness",
        "TENSOR_PARALLEL_SIZE": "--tensor-parallel-size",
        "DATA_PARALLEL_SIZE": "--data-parallel-size",
        "LOAD_BALANCE_METHOD": "--load-balance-method",
        "STREAM_INTERVAL": "--stream-interval",
        "RANDOM_SEED": "--random-seed",
        "LOG_LEVEL_HTTP": "--log-level-http",
        "FILE_STORAGE_PATH": "--file-storage-path",
        "ATTENTION_BACKEND": "--attention-backend",
        "SAMPLING_BACKEND": "--sampling-backend",
        "TOOL_CALL_PARSER": "--tool-call-parser",
        "REASONING_PARSER": "--reasoning-parser",
    }
)

SWITCHES = MappingProxyType(
    {
        "SKIP_TOKENIZER_INIT": ("--skip-tokenizer-init",),
        "TRUST_REMOTE_CODE": ("--trust-remote-code",),
        "LOG_REQUESTS": ("--log-requests",),
        "SHOW_TIME_COST": ("--show-time-cost",),
        "DISABLE_RADIX_CACHE": ("--disable-radix-cache",),
        "DISABLE_CUDA_GRAPH": (
            "--cuda-graph-backend-decode=disabled",
            "--cuda-graph-backend-prefill=disabled",
        ),
        "DISABLE_OUTLINES_DISK_CACHE": ("--disable-outlines-disk-cache",),
        "ENABLE_TORCH_COMPILE": ("--enable-torch-compile",),
        "ENABLE_P2P_CHECK": ("--enable-p2p-check",),
        "TRITON_ATTENTION_REDUCE_IN_FP32": ("--triton-attention-reduce-in-fp32",),
    }
)

GONE = MappingProxyType(
    {
        "ENABLE_FLASHINFER_MLA": "SGLang chooses the backend; see ATTENTION_BACKEND",
        "API_KEY": "the engines listen on loopback only; the router's keys are API_KEYS",
    }
)

# The former worker offered these in its form; some never worked.
GONE_VALUES = MappingProxyType(
    {
        ("QUANTIZATION", "marlin"): "SGLang uses Marlin kernels by itself where they fit",
        ("QUANTIZATION", "squeezellm"): "SGLang has dropped it",
        ("LOAD_BALANCE_METHOD", "shortest_queue"): "the nearest is total_requests",
        ("TOOL_CALL_PARSER", "llama4"): "Llama 4 is served by pythonic",
        ("REASONING_PARSER", "llama3"): "no reasoning parser has this name",
        ("REASONING_PARSER", "llama4"): "no reasoning parser has this name",
        ("REASONING_PARSER", "qwen25"): "no reasoning parser has this name (see qwen3)",
        (
            "REASONING_PARSER",
            "deepseekv3",
        ): "this parser is called deepseek-v3",
    }
)

# What the launcher sets itself, and could not find or trust its engine without.
RESERVED = frozenset(
    {
        "--model-path",
        "--model",
        "--revision",
        "--served-model-name",
        "--host",
        "--port",
        "--device",
        "--is-embedding",
        "--api-key",
        "--admin-api-key",
        "--config",
    }
)

_TRUE = frozenset({"true", "1", "yes"})


def flags(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The flags that these variables ask for; `ENGINE_ARGS` last, because the last wins.

    Raises `ValueError` where `ENGINE_ARGS` can't be parsed or sets what the router sets.
    """
    try:
        further = parse(environ.get("ENGINE_ARGS", ""))
    except ValueError as error:
        raise ValueError(f"ENGINE_ARGS: {error}") from error
    return (*_from_variables(environ), *further)


def warnings(environ: Mapping[str, str]) -> tuple[str, ...]:
    """What `flags` leaves out of this environment, and why, for the log."""
    gone = [f"{name} is ignored: {why}." for name, why in GONE.items() if environ.get(name)]
    dropped = [
        f"{name}={value} is ignored: {why}."
        for (name, value), why in GONE_VALUES.items()
        if environ.get(name) == value
    ]
    return (*gone, *dropped)


def parse(text: str) -> tuple[str, ...]:
    """Read flags as a shell would. Raises `ValueError`, as `refuse_reserved` does too."""
    found = tuple(shlex.split(text))
    refuse_reserved(found)
    return found


def refuse_reserved(given: Sequence[str]) -> None:
    """Raise `ValueError` where an operator's flags hold one that is the router's own."""
    for flag in given:
        name = flag.partition("=")[0]
        # argparse takes any unambiguous beginning of a flag for the flag.
        if name.startswith("--") and any(own.startswith(name) for own in RESERVED):
            raise ValueError(f"{name} is set by the router and can't be an engine flag")


def _from_variables(environ: Mapping[str, str]) -> Iterator[str]:
    for name, flag in VALUES.items():
        value = environ.get(name)
        if value and (name, value) not in GONE_VALUES:
            # One word: a value that begins with a dash would be taken for a flag.
            yield f"{flag}={value}"
    for name, switch in SWITCHES.items():
        if environ.get(name, "").lower() in _TRUE:
            yield from switch
