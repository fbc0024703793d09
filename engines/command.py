"""How an engine is started: its command line and its environment. Pure."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path

from router.models import EngineSpec, ResolvedModel, Task
from router.scheduler.actions import Allotment
from router.secrets import Token

CPU_MODULES = Path(__file__).with_name("cpu")  # see sitecustomize.py there

_GIB = 1 << 30

# SGLang's own estimate of what runs beside weights and KV cache is 512 MiB and 1.5 MiB a
# token of the prefill chunk (sglang 0.5.23, arg_groups/memory_hook.py); by default it
# sizes the chunk for the whole GPU. An engine that shares one gets its smallest chunk.
_SHARED_CHUNK = 2048
_RESERVE = _GIB // 2 + _SHARED_CHUNK * 3 * (1 << 19)
_RESERVE_MOST = 0.25  # of the claim: a small claim is not to be all reserve
_SMALLER = 0.85

# An empty list of domains means any to SGLang. `.invalid` never resolves (RFC 2606).
_NO_DOMAIN = "none.invalid"

# Of the worker's environment an engine sees these and nothing else: a deny-list would
# miss the next secret. The operator's own SGLANG_* and the like pass, unless the name
# says that it is a secret.
_PASSED = frozenset(
    {
        *("PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH"),
        *("HF_HOME", "HF_HUB_CACHE", "HF_MODULES_CACHE", "XDG_CACHE_HOME"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "TOKENIZERS_PARALLELISM"),
    }
)
_PASSED_PREFIXES = (
    *("LC_", "CUDA_", "NVIDIA_", "NCCL_", "NVSHMEM_", "GLOO_", "UCX_", "OMP_", "MKL_"),
    *("SGLANG_", "SGL_", "TORCH", "PYTORCH_", "TRITON_", "FLASHINFER_", "TVM_", "DG_JIT_"),
)
_SECRET_SUFFIXES = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIALS")


class Device(StrEnum):
    CUDA = "cuda"
    CPU = "cpu"


def served_name(model: ResolvedModel) -> str:
    """What the engine is to be called. SGLang reads `a:b` as the adapter b of a."""
    return model.repo_id.replace(":", "-")


def model_path(snapshot: Path) -> str:
    """The snapshot as the engine is told it, and as its `/model_info` repeats it.

    Absolute, because SGLang takes a relative path for a Hub id where it can.
    """
    return os.path.abspath(snapshot)  # noqa: PTH100 - symlinks stay as they are


def argv(
    spec: EngineSpec,
    snapshot: Path,
    port: int,
    allotment: Allotment,
    *,
    python: str,
    device: Device,
    media_domains: Sequence[str] = (),
) -> tuple[str, ...]:
    """The engine's command line. The operator's flags come last, and the last one wins."""
    return (
        python,
        *("-m", "sglang.launch_server"),
        *("--model-path", model_path(snapshot)),
        *("--served-model-name", served_name(spec.model)),
        *("--host", "127.0.0.1", "--port", str(port)),
        *(() if spec.model.task is Task.GENERATE else ("--is-embedding",)),
        *("--log-level-http", "warning"),  # or each poll of /ready is a line
        *("--allowed-media-domains", *(media_domains or (_NO_DOMAIN,))),
        *(_cpu_flags() if device is Device.CPU else memory_flags(allotment)),
        *spec.flags,
    )


def memory_flags(allotment: Allotment) -> tuple[str, ...]:
    """Keep an engine on a GPU within its claim.

    SGLang gives the KV cache what is free once the weights are loaded, less what was
    free before times (1 - f), f being `--mem-fraction-static`; so weights and cache come
    to f times what was free (kv_cache_configurator.py, `_profile_available_bytes`).
    Activations and graphs come on top and are part of the claim:

        f = (claim - reserve) / free, after running out of memory 0.85 of that

    An engine that has the GPU to itself is left to SGLang's own reckoning at first.
    """
    if allotment.whole and not allotment.smaller:
        return ()
    reserve = min(_RESERVE, int(allotment.claim * _RESERVE_MOST))
    fraction = (allotment.claim - reserve) / max(allotment.free, allotment.claim)
    if allotment.smaller:
        fraction *= _SMALLER
    return (
        *("--mem-fraction-static", f"{math.floor(fraction * 1000) / 1000:.3f}"),
        *("--chunked-prefill-size", str(_SHARED_CHUNK)),
    )


def _cpu_flags() -> tuple[str, ...]:
    """Plain PyTorch and a small cache; without `--sleep-on-idle` it burns a core."""
    return (
        *("--device", "cpu", "--attention-backend", "torch_native"),
        *("--sampling-backend", "pytorch", "--grammar-backend", "xgrammar"),
        *("--cuda-graph-backend-decode", "disabled"),
        *("--cuda-graph-backend-prefill", "disabled"),
        *("--max-total-tokens", "4096", "--max-running-requests", "4", "--sleep-on-idle"),
    )


def environment(
    environ: Mapping[str, str],
    spec: EngineSpec,
    *,
    device: Device,
    hf_token: Token | None,
) -> dict[str, str]:
    """The engine's environment: what it may see of the worker's, and what we decide.

    Offline, because the snapshot is whole: with it at hand SGLang asks the Hub nothing,
    and must not start to for a repository named inside a model's files.
    """
    passed = {name: value for name, value in environ.items() if _may_see(name)}
    chosen = {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "HF_TOKEN_PATH": os.devnull,  # not the token that somebody's login left in HF_HOME
        "PYTHONUNBUFFERED": "1",
        # A dead detokenizer takes the engine down in 0.8 s, not after a minute of dumps.
        "SGLANG_CUDA_COREDUMP_BEFORE_CRASH": "0",
        "SGLANG_PYSPY_DUMP_BEFORE_CRASH": "0",
    }
    if not spec.trusted:
        # For an architecture of which SGLang knows nothing it imports what `auto_map`
        # names, whatever `--trust-remote-code` says (0.5.23, model_loader/utils.py,
        # `resolve_transformers_arch`). transformers copies such code here before it is
        # imported, and in a file there are no directories.
        chosen["HF_MODULES_CACHE"] = f"{os.devnull}/none"
    if spec.hf_token and hf_token is not None:
        chosen["HF_TOKEN"] = hf_token.reveal()
    if device is Device.CPU:
        chosen |= {
            "SGLANG_USE_CPU_ENGINE": "1",
            "TORCHDYNAMO_DISABLE": "1",  # no compiler is needed, and the start is 2 s faster
            "PYTHONPATH": os.pathsep.join(
                filter(None, (str(CPU_MODULES), passed.get("PYTHONPATH")))
            ),
        }
    return passed | chosen


def _may_see(name: str) -> bool:
    return name in _PASSED or (
        name.startswith(_PASSED_PREFIXES) and not name.endswith(_SECRET_SUFFIXES)
    )
