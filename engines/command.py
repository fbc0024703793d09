"""Builds the command line and the environment of an engine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path

from engines import kernel_cache, sleep
from engines.engine_port import EnginePort
from engines.engine_user import Workspace
from engines.flags import can_wait, is_parallel
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

# SGLang takes an empty list to mean any domain. `.invalid` never resolves (RFC 2606).
_NO_DOMAIN = "none.invalid"

# An engine sees only these variables of the worker's environment: a deny-list would miss the
# next secret. SGLANG_* and the like pass, unless the name looks like the name of a secret.
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
    *("TMS_", "KVCACHED_", "TILELANG_", "RUNAI_STREAMER_"),  # they load weights
)
_SECRET_SUFFIXES = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIALS")


class Device(StrEnum):
    CUDA = "cuda"
    CPU = "cpu"


def served_name(model: ResolvedModel) -> str:
    """The name under which the engine serves the model.

    Without colons: SGLang reads `a:b` as the adapter b of the model a.
    """
    return model.repo_id.replace(":", "-")


def model_path(snapshot: Path) -> str:
    """The path for `--model-path`. The engine's `/model_info` reports the same path.

    It is absolute, because SGLang may mistake a relative path for a Hub id.
    """
    return os.path.abspath(snapshot)  # noqa: PTH100 - symlinks stay as they are


def cache_size(device: Device) -> int | None:
    """The size of an engine's KV cache in tokens; None if SGLang chooses it."""
    return _CPU_CACHE if device is Device.CPU else None


def argv(
    spec: EngineSpec,
    snapshot: Path,
    port: EnginePort,
    allotment: Allotment,
    *,
    python: str,
    device: Device,
    gate: EnginePort | None = None,
    own: ModelFlags = _NONE,
    media_domains: Sequence[str] = (),
) -> tuple[str, ...]:
    """The engine's command line.

    With a `gate`, the engine waits there before it loads; without, it loads at once.
    `own` are the flags that the model needs.

    If a flag is given twice, SGLang uses the last one. The spec's flags therefore come last,
    except for `own.needed`: without these the model computes wrong numbers, and `ENGINE_ARGS`
    is written for all models, not for this one.
    """
    return (
        python,
        *(str(ENTRY), ",".join(map(str, files(port, gate))), "sglang.launch_server"),
        *("--model-path", model_path(snapshot)),
        *("--served-model-name", served_name(spec.model)),
        *("--host", "127.0.0.1", "--port", str(port.number)),
        *(("--gated-launch-port", str(gate.number)) if gate else ()),
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


def files(port: EnginePort, gate: EnginePort | None) -> tuple[int, ...]:
    """The open files that the engine's main process inherits, in the order of `entry.py`."""
    return (*port.files, *(gate.files if gate else ()))


def _gpu_flags(allotment: Allotment, *, waits: bool) -> tuple[str, ...]:
    """The flags for the engine's GPUs and its memory on each of them."""
    first, tensor = allotment.devices[0], allotment.tensor
    return (
        *memory_flags(allotment, waits=waits),
        *(("--base-gpu-id", str(first)) if first else ()),
        *(("--tp-size", str(tensor)) if tensor else ()),
    )


def _cpu_flags() -> tuple[str, ...]:
    """Plain PyTorch, a small cache, and `--sleep-on-idle`: else an idle engine uses a core."""
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
    workspace: Workspace,
    device: Device,
    hf_token: Token | None,
    pools_mean: bool = False,
) -> dict[str, str]:
    """The engine's environment: the allowed part of the worker's, and the router's settings.

    With `pools_mean`, SGLang takes the mean of an encoder's token vectors.

    The engine is offline. Its snapshot is complete, and a model's files must not make it
    download another repository.
    """
    passed = worker_part(environ)
    if workspace.home is not None:
        passed.pop("XDG_CACHE_HOME", None)  # it belongs to another user
        passed |= {"HOME": str(workspace.home), "USER": "engine"}
    if workspace.kernels is not None:
        passed = {**kernel_cache.variables(workspace.kernels.directory), **passed}
    passed.setdefault("GLOO_SOCKET_IFNAME", "lo")  # default: the address of the host name
    chosen = {
        "TMPDIR": str(workspace.temporary),
        "HF_HOME": str(workspace.cache),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "HF_TOKEN_PATH": os.devnull,  # ignore a token that a login left in HF_HOME
        "PYTHONUNBUFFERED": "1",
        # If the detokenizer dies, the engine ends after 0.8 s; with dumps, after a minute.
        "SGLANG_CUDA_COREDUMP_BEFORE_CRASH": "0",
        "SGLANG_PYSPY_DUMP_BEFORE_CRASH": "0",
    }
    if not spec.trusted:
        # If SGLang does not know an architecture, it imports the code named by `auto_map`,
        # even without `--trust-remote-code` (0.5.23, model_loader/utils.py,
        # `resolve_transformers_arch`). transformers first copies that code to this
        # directory. The copy fails, because no directory can exist below a file.
        chosen["HF_MODULES_CACHE"] = f"{os.devnull}/none"
    if not is_parallel(spec.flags):
        # The processes of one engine meet at this store. By default, torch opens a TCP store
        # that listens on every address.
        store = f"file://{workspace.temporary}/store"
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
    """The part of the worker's environment that the engines' interpreter may see."""
    return {name: value for name, value in environ.items() if _may_see(name)}


def _cpu_environment(passed: Mapping[str, str]) -> dict[str, str]:
    python_path = (str(CPU_MODULES), passed.get("PYTHONPATH"))
    return {
        "SGLANG_USE_CPU_ENGINE": "1",
        "TORCHDYNAMO_DISABLE": "1",  # needs no compiler, and starts 2 s faster
        "PYTHONPATH": os.pathsep.join(filter(None, python_path)),
    }


def _may_see(name: str) -> bool:
    return name in _PASSED or (
        name.startswith(_PASSED_PREFIXES) and not name.endswith(_SECRET_SUFFIXES)
    )
