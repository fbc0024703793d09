"""The variables with which an operator sets SGLang's flags.

`ENGINE_ARGS` takes any text that SGLang's own command line takes. The other variables are
those of RunPod's former SGLang worker (runpod-workers/worker-sglang, `engine.py`, which ran
SGLang 0.5.2). Values that SGLang 0.5.23 no longer knows are dropped with a warning: an unknown
flag or value ends an engine's start, and here it would end the start of every model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from router.config.errors import SettingsError
from router.config.kinds import FLAG, Kind
from router.config.parsers import as_arguments, as_number
from router.config.setting import Setting

_VALUE = Kind(str, "text")
_NUMBER = Kind(as_number, "number", form="number")

ENGINE_ARGS = Setting(
    name="ENGINE_ARGS",
    kind=Kind(as_arguments, "flags, quoted as for a shell"),
    meaning="More SGLang flags for every engine, as on its command line.",
    label="Engine Arguments",
)


@dataclass(frozen=True, slots=True)
class EngineFlag:
    """One variable, and the words that it adds to the command line of every engine."""

    setting: Setting[str] | Setting[bool]
    words: tuple[str, ...]  # of a switch; or the one flag that takes the value

    @property
    def is_switch(self) -> bool:
        return self.setting.kind is FLAG

    def given(self, environ: Mapping[str, str]) -> tuple[str, ...]:
        """Its words on the command line; none if it is not set. Raises `SettingsError`."""
        value = self.setting.read(environ)
        if not value or (self.setting.name, value) in GONE_VALUES:
            return ()
        # One word, because a value that begins with a dash would be taken for a flag.
        return self.words if self.is_switch else (f"{self.words[0]}={value}",)


def _flag_of(name: str) -> str:
    return f"--{name.lower().replace('_', '-')}"


def _value(
    name: str, label: str, about: str = "", kind: Kind[str] = _VALUE, *, options: str = ""
) -> EngineFlag:
    """A variable with a value.

    `about` follows the flag in the description. `options`, with spaces between them, are the
    choices in RunPod Hub's form.
    """
    flag = _flag_of(name)
    setting = Setting(
        name=name,
        kind=kind,
        meaning=f"SGLang's {flag}{about}.",
        label=label,
        advanced=name != "CONTEXT_LENGTH",
        options=tuple(options.split()),
        unset="SGLang's default" if options else "",
    )
    return EngineFlag(setting, (flag,))


def _switch(name: str, label: str, about: str = "", *words: str) -> EngineFlag:
    words = words or (_flag_of(name),)
    meaning = f"SGLang's {' '.join(words)}{about}."
    setting = Setting(name=name, kind=FLAG, meaning=meaning, label=label, default="false")
    return EngineFlag(setting, words)


_TABLE = (
    _value("TOKENIZER_PATH", "Tokenizer Path"),
    _value("TOKENIZER_MODE", "Tokenizer Mode", options="auto slow"),
    _value(
        "LOAD_FORMAT",
        "Load Format",
        options="auto safetensors pt npcache dummy bitsandbytes",
    ),
    _value(
        "DTYPE",
        "Data Type",
        ": of weights and activations",
        options="auto half float16 bfloat16 float float32",
    ),
    _value("CONTEXT_LENGTH", "Context Length", ", for every engine", _NUMBER),
    _value(
        "QUANTIZATION",
        "Quantization",
        ", for models that do not set it themselves",
        options="awq awq_marlin gptq gptq_marlin fp8 w8a8_int8 w8a8_fp8 mxfp4 "
        "compressed-tensors bitsandbytes",
    ),
    _value("CHAT_TEMPLATE", "Chat Template", ": name or path"),
    _value(
        "MEM_FRACTION_STATIC",
        "Static Memory Fraction",
        ". It overrides the router's own estimate of the memory",
        _NUMBER,
    ),
    _value("MAX_RUNNING_REQUESTS", "Running Requests", kind=_NUMBER),
    _value("MAX_TOTAL_TOKENS", "Total Tokens", ": the size of the KV cache", _NUMBER),
    _value("CHUNKED_PREFILL_SIZE", "Prefill Chunk", ", in tokens. -1: no chunks", _NUMBER),
    _value("MAX_PREFILL_TOKENS", "Prefill Tokens", kind=_NUMBER),
    _value("SCHEDULE_POLICY", "Schedule Policy", options="lpm random fcfs dfs-weight"),
    _value("SCHEDULE_CONSERVATIVENESS", "Schedule Conservativeness", kind=_NUMBER),
    _value("TENSOR_PARALLEL_SIZE", "Tensor Parallel Size", ": GPUs for each engine", _NUMBER),
    _value("DATA_PARALLEL_SIZE", "Data Parallel Size", kind=_NUMBER),
    _value(
        "LOAD_BALANCE_METHOD",
        "Load Balance Method",
        ", between data-parallel parts",
        options="auto round_robin total_requests total_tokens",
    ),
    _value("STREAM_INTERVAL", "Stream Interval", ", in tokens", _NUMBER),
    _value("RANDOM_SEED", "Random Seed", kind=_NUMBER),
    _value("LOG_LEVEL_HTTP", "Engine's HTTP Log Level", options="debug info warning error"),
    _value("FILE_STORAGE_PATH", "File Storage Path"),
    _value(
        "ATTENTION_BACKEND",
        "Attention Backend",
        options="flashinfer fa3 fa4 triton flashmla trtllm_mla trtllm_mha torch_native",
    ),
    _value("SAMPLING_BACKEND", "Sampling Backend", options="flashinfer pytorch"),
    _value(
        "TOOL_CALL_PARSER",
        "Tool Call Parser",
        ", for every engine; set it per model in the models file",
        options="auto llama3 qwen qwen25 qwen3_coder mistral pythonic deepseekv3 deepseekv31 "
        "gpt-oss glm45 kimi_k2 hermes gemma4 minimax-m2 step3",
    ),
    _value(
        "REASONING_PARSER",
        "Reasoning Parser",
        ", for every engine; set it per model in the models file",
        options="auto deepseek-r1 deepseek-v3 qwen3 qwen3-thinking gpt-oss glm45 kimi_k2 "
        "mistral gemma4 minimax step3",
    ),
    _switch("SKIP_TOKENIZER_INIT", "Skip Tokenizer", ": requests carry token ids"),
    _switch(
        "TRUST_REMOTE_CODE",
        "Trust Remote Code",
        ", for your own models: they may run their own code. Preferably, set it per model in "
        "the models file",
    ),
    _switch("LOG_REQUESTS", "Log Requests", ": prompts and answers go into the log"),
    _switch("SHOW_TIME_COST", "Show Time Cost"),
    _switch("DISABLE_RADIX_CACHE", "Disable Radix Cache", ": no prefix cache"),
    _switch(
        "DISABLE_CUDA_GRAPH",
        "Disable CUDA Graph",
        ": a faster start, slower answers",
        "--cuda-graph-backend-decode=disabled",
        "--cuda-graph-backend-prefill=disabled",
    ),
    _switch("DISABLE_OUTLINES_DISK_CACHE", "Disable Outlines Disk Cache"),
    _switch("ENABLE_TORCH_COMPILE", "Torch Compile"),
    _switch("ENABLE_P2P_CHECK", "P2P Check", ", between GPUs"),
    _switch("TRITON_ATTENTION_REDUCE_IN_FP32", "Triton Reduce in FP32"),
)
FLAGS: Mapping[str, EngineFlag] = {flag.setting.name: flag for flag in _TABLE}
SETTINGS: Mapping[str, Setting[Any]] = {
    one.name: one for one in (ENGINE_ARGS, *(flag.setting for flag in _TABLE))
}

GONE = MappingProxyType(
    {
        "ENABLE_FLASHINFER_MLA": "SGLang chooses the backend; see ATTENTION_BACKEND",
        "API_KEY": "the router gives each engine a key; its own keys are API_KEYS",
    }
)

# The former worker's form offered these values; some never worked.
GONE_VALUES = MappingProxyType(
    {
        ("QUANTIZATION", "marlin"): "SGLang uses Marlin kernels by itself where they fit",
        ("QUANTIZATION", "squeezellm"): "SGLang has dropped it",
        ("LOAD_BALANCE_METHOD", "shortest_queue"): "the nearest is total_requests",
        ("TOOL_CALL_PARSER", "llama4"): "Llama 4 is served by pythonic",
        ("REASONING_PARSER", "llama3"): "no reasoning parser has this name",
        ("REASONING_PARSER", "llama4"): "no reasoning parser has this name",
        ("REASONING_PARSER", "qwen25"): "no reasoning parser has this name (see qwen3)",
        ("REASONING_PARSER", "deepseekv3"): "this parser is called deepseek-v3",
    }
)

# With these flags, several processes would serve a gate on the same port, or a process on
# another machine would have to be released, too.
GATELESS = frozenset(
    {
        *("--dp-size", "--data-parallel-size"),
        *("--attn-dp-size", "--attention-data-parallel-size", "--enable-dp-attention"),
        *("--dwdp-size", "--elastic-ep-backend", "--elastic-ep-join-mode"),
        *("--nnodes", "--node-rank", "--dist-init-addr", "--nccl-init-addr"),
    }
)

# With these flags, an engine's processes need more than one store, or run on several machines.
_PARALLEL = GATELESS | {"--ep-size", "--expert-parallel-size"}

# Flags that the launcher sets itself, because it finds and checks its engine by them, and flags
# that would open a port beside the one that `entry.py` locks.
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
        "--tokenizer-worker-num",
        "--enable-http2",
        "--enable-http-worker-reuseport",
        "--grpc-mode",
        "--grpc-port",
        "--smg-grpc-mode",
        "--smg-http-sidecar-port",
        "--gated-launch-port",
        "--engine-info-bootstrap-port",
        "--encoder-only",
        "--use-ray",
        "--ssl-keyfile",
        "--ssl-certfile",
        "--ssl-ca-certs",
        "--ssl-keyfile-password",
        "--enable-ssl-refresh",
    }
)


def flags(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The flags that these variables set. `ENGINE_ARGS` comes last: the last flag wins.

    Raises `SettingsError`.
    """
    further = ENGINE_ARGS.read(environ) or ()
    refuse_reserved("ENGINE_ARGS", further)
    return (*(word for flag in _TABLE for word in flag.given(environ)), *further)


def warnings(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Lines for the log: which variables `flags` ignores, and why."""
    gone = [f"{name} is ignored: {why}." for name, why in GONE.items() if environ.get(name)]
    dropped = [
        f"{name}={value} is ignored: {why}."
        for (name, value), why in GONE_VALUES.items()
        if FLAGS[name].setting.read(environ) == value
    ]
    return (*gone, *dropped)


def refuse_reserved(key: str, given: Iterable[str]) -> None:
    """Raise `SettingsError` if `given`, the operator's flags at `key`, has a reserved flag."""
    for name in _among(RESERVED, given):
        raise SettingsError(key, name, f"without {name}, which is set by the router")


def can_wait(given: Iterable[str]) -> bool:
    """Whether an engine with these flags can wait at a gate before it takes memory."""
    return not any(_among(GATELESS, given))


def is_parallel(given: Iterable[str]) -> bool:
    """Whether an engine's processes can't meet at one store in a file of this machine."""
    return any(_among(_PARALLEL, given))


def _among(names: frozenset[str], given: Iterable[str]) -> Iterator[str]:
    """The words in `given` that SGLang may take for a flag in `names`."""
    for word in given:
        # SGLang accepts underscores for dashes.
        name = word.partition("=")[0].replace("_", "-")
        # argparse accepts any unambiguous prefix of a flag.
        if name.startswith("--") and any(one.startswith(name) for one in names):
            yield name
