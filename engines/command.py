"""Builds the command line and the environment of an engine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path

from engines import kernel_cache, sleep
from engines.door import Door
from engines.flags import can_wait
from engines.lodging import Lodging
from engines.memory_flags import bounds_later, memory_flags
from router.models import EngineSpec, ResolvedModel, Task
from router.repository.engine_flags import ModelFlags
from router.scheduler.actions import Allotment
from router.secrets import Token

CPU_MODULES = Path(__file__).with_name("cpu")  # see sitecustomize.py there
POOLING_MODULES = Path(__file__).with_name("pooling")
ENTRY = Path(__file__).with_name("entry.py")

_CPU_CACHE = 4096  # tokens
_NONE = ModelFlags()

# To SGLang, an empty list of domains means any domain. `.invalid` never resolves (RFC 2606).
_NO_DOMAIN = "none.invalid"

# The only variables of the worker's environment that an engine sees: a deny-list would miss
# the next secret. SGLANG_* and the like pass, unless the name looks like a secret's.
_PASSED = frozenset(
    {
        *("PATH", "HOME", "USER", "LANG", "TZ", "LD_LIBRARY_PATH", "PYTHONPATH"),
        "XDG_CACHE_HOME",
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "TOKENIZERS_PARALLELISM"),
    }
)
_PASSED_PREFIXES = (
    *("LC_", "CUDA_", "NVIDIA_", "NCCL_", "NVSHMEM_", "GLOO_", "UCX_", "OMP_", "MKL_"),
    *("SGLANG_", "SGL_", "TORCH", "PYTORCH_", "TRITON_", "FLASHINFER_", "TVM_", "DG_JIT_"),
    *("TMS_", "KVCACHED_", "TILELANG_", "RUNAI_STREAMER_"),  # what holds or loads weights
)
_SECRET_SUFFIXES = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIALS")


class Device(StrEnum):
    CUDA = "cuda"
    CPU = "cpu"


def served_name(model: ResolvedModel) -> str:
    """The model's name for the engine. SGLang would read `a:b` as the adapter b of a."""
    return model.repo_id.replace(":", "-")


def model_path(snapshot: Path) -> str:
    """The path for `--model-path`, which the engine's `/model_info` repeats.

    Absolute, because SGLang may take a relative path for a Hub id.
    """
    return os.path.abspath(snapshot)  # noqa: PTH100 - symlinks stay as they are


def cache_size(device: Device) -> int | None:
    """Tokens of an engine's KV cache, where that is fixed."""
    return _CPU_CACHE if device is Device.CPU else None


def argv(
    spec: EngineSpec,
    snapshot: Path,
    door: Door,
    allotment: Allotment,
    *,
    python: str,
    device: Device,
    gate: Door | None = None,
    own: ModelFlags = _NONE,
    media_domains: Sequence[str] = (),
) -> tuple[str, ...]:
    """The engine's command line; `own` are the flags that the model needs.

    `gate`: where it waits before it loads; None: it does not.

    The last of two equal flags counts. So the spec's flags come last, but for those that
    would make the model's numbers wrong: `ENGINE_ARGS` speaks of all models.
    """
    return (
        python,
        *(str(ENTRY), ",".join(map(str, files(door, gate))), "sglang.launch_server"),
        *("--model-path", model_path(snapshot)),
        *("--served-model-name", served_name(spec.model)),
        *("--host", "127.0.0.1", "--port", str(door.port)),
        *(("--gated-launch-port", str(gate.port)) if gate else ()),
        *(() if spec.model.task is Task.GENERATE else ("--is-embedding",)),
        *("--log-level-http", "warning"),  # otherwise each poll of /ready is logged
        *("--allowed-media-domains", *(media_domains or (_NO_DOMAIN,))),
        *(_cpu_flags() if device is Device.CPU else _gpu_flags(allotment, waits=bool(gate))),
        *(sleep.FLAGS if allotment.sleeps else ()),
        *own.usual,
        *spec.flags,
        *own.needed,
    )


def may_wait(spec: EngineSpec, allotment: Allotment, device: Device) -> bool:
    """Whether an engine can wait at a gate before it takes memory."""
    return can_wait(spec.flags) and (device is Device.CPU or bounds_later(allotment))


def files(door: Door, gate: Door | None) -> tuple[int, ...]:
    """The open files that the engine's main process inherits, in the order of `entry.py`."""
    return (*door.files, *(gate.files if gate else ()))


def _gpu_flags(allotment: Allotment, *, waits: bool) -> tuple[str, ...]:
    """Which GPUs, and how much of each."""
    first, tensor = allotment.devices[0], allotment.tensor
    return (
        *memory_flags(allotment, waits=waits),
        *(("--base-gpu-id", str(first)) if first else ()),
        *(("--tp-size", str(tensor)) if tensor else ()),
    )


def _cpu_flags() -> tuple[str, ...]:
    """Plain PyTorch and a small cache. Without `--sleep-on-idle` it uses a whole core."""
    return (
        *("--device", "cpu", "--attention-backend", "torch_native"),
        *("--sampling-backend", "pytorch", "--grammar-backend", "xgrammar"),
        *("--cuda-graph-backend-decode", "disabled"),
        *("--cuda-graph-backend-prefill", "disabled"),
        *(
            "--max-total-tokens",
            str(_CPU_CACHE),
            "--max-running-requests",
            "4",
            "--sleep-on-idle",
        ),
    )


def environment(
    environ: Mapping[str, str],
    spec: EngineSpec,
    *,
    lodging: Lodging,
    device: Device,
    hf_token: Token | None,
    pools_mean: bool = False,
) -> dict[str, str]:
    """The engine's environment: the allowed part of the worker's, and the router's settings.

    `pools_mean`: SGLang is to take the mean of an encoder's tokens.

    The engine is offline. Its snapshot is complete, and it must not ask the Hub for a
    repository that is named in a model's files.
    """
    passed = worker_part(environ)
    if lodging.home is not None:
        passed.pop("XDG_CACHE_HOME", None)  # of another user
        passed |= {"HOME": str(lodging.home), "USER": "engine"}
    if lodging.kernels is not None:
        passed = {**kernel_cache.variables(lodging.kernels.directory), **passed}
    passed.setdefault("GLOO_SOCKET_IFNAME", "lo")  # by default, what the host's name means
    chosen = {
        "TMPDIR": str(lodging.temporary),
        "HF_HOME": str(lodging.cache),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "HF_TOKEN_PATH": os.devnull,  # not the token that a login left in HF_HOME
        "PYTHONUNBUFFERED": "1",
        # When its detokenizer dies, an engine ends after 0.8 s; with dumps, after a minute.
        "SGLANG_CUDA_COREDUMP_BEFORE_CRASH": "0",
        "SGLANG_PYSPY_DUMP_BEFORE_CRASH": "0",
    }
    if not spec.trusted:
        # For an architecture that SGLang does not know, it imports the code that `auto_map`
        # names, even without `--trust-remote-code` (0.5.23, model_loader/utils.py,
        # `resolve_transformers_arch`). transformers first copies such code to this
        # directory, which can't exist below a file.
        chosen["HF_MODULES_CACHE"] = f"{os.devnull}/none"
    if not any(map(_is_parallel, spec.flags)):
        # torch's store for the processes of one engine. Its own listens on every address.
        store = f"file://{lodging.temporary}/store"
        chosen["SGLANG_DISTRIBUTED_INIT_METHOD_OVERRIDE"] = store
    if spec.hf_token and hf_token is not None:
        chosen["HF_TOKEN"] = hf_token.reveal()
    if device is Device.CPU:
        chosen |= _cpu_environment(passed)
    if pools_mean:
        path = (passed | chosen).get("PYTHONPATH")
        chosen["PYTHONPATH"] = os.pathsep.join(filter(None, (str(POOLING_MODULES), path)))
        chosen["SGLANG_EXTERNAL_MODEL_PACKAGE"] = "mean_pooling"
    return passed | chosen


def worker_part(environ: Mapping[str, str]) -> dict[str, str]:
    """What the engines' interpreter may see of the worker's environment."""
    return {name: value for name, value in environ.items() if _may_see(name)}


def _cpu_environment(passed: Mapping[str, str]) -> dict[str, str]:
    python_path = (str(CPU_MODULES), passed.get("PYTHONPATH"))
    return {
        "SGLANG_USE_CPU_ENGINE": "1",
        "TORCHDYNAMO_DISABLE": "1",  # needs no compiler, and starts 2 s faster
        "PYTHONPATH": os.pathsep.join(filter(None, python_path)),
    }


def _is_parallel(flag: str) -> bool:
    """Whether a flag asks for more processes than share one store, or for other machines."""
    return flag.replace("_", "-").startswith(
        ("--d", "--nn", "--enable-dp", "--ep-", "--elastic")
    )


def _may_see(name: str) -> bool:
    return name in _PASSED or (
        name.startswith(_PASSED_PREFIXES) and not name.endswith(_SECRET_SUFFIXES)
    )
