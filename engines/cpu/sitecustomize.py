# ruff: noqa: INP001 - a directory on PYTHONPATH, not a package
"""Lets the unmodified SGLang from PyPI start without a GPU.

Python imports a module of this name at startup if it is on `PYTHONPATH`. `engines.command`
adds this directory for engines on the CPU only.
SGLang's CPU path runs dense models on plain PyTorch, but three packages of the GPU path
are imported on the way, and none of them has a wheel that works on the CPU:

- `triton` declares kernels at import. The replacement does nothing: every name exists,
  decorators return their argument, and nothing is compiled or launched.
- `sgl_kernel` has CPU kernels. In the replacement they can be imported and raise when
  called; no dense model calls one. Its submodules can't be imported, so SGLang concludes
  that GPU kernels are missing.
- `torchvision`'s wheel is built for CUDA and stops at its first import because its
  native library, and with it the operators it describes, is not loaded. Two declared
  schemas are enough.

`torch.compile` returns the function unchanged. SGLang decorates many functions with it: that
imports half a compiler in each process of an engine (a fifth of the start), and the first call
of such a function needs a C++ compiler.

Written against SGLang 0.5.23 and torch 2.13; `tests/engines/test_cpu.py` starts it.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from typing import NoReturn

SGL_KERNELS = (
    "assign_draft_cache_locs_contiguous_cpu",
    "assign_extend_cache_locs_cpu",
    "assign_req_to_token_pool_cpu",
    "build_tree_kernel_efficient_cpu",
    "copy_all_layer_kv_cache_cpu",
    "fill_accept_out_cache_loc_cpu",
    "fill_bonus_tokens_cpu",
    "verify_tree_greedy_cpu",
)


class Inert(types.ModuleType):
    """Stands in for any module, decorator or constant of triton."""

    __version__ = "0.0.0"

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "active":  # `triton.runtime.driver.active` of the real triton raises it too
            raise RuntimeError("0 active drivers")
        if name[0].isupper():  # torch asks `isinstance(kernel, triton.runtime.JITFunction)`
            return type(name, (), {"__init__": lambda *_args, **_kwargs: None})
        return Inert(f"{self.__name__}.{name}")

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Decorate, as `@triton.jit` and as `@triton.jit(...)`."""
        return args[0] if args and callable(args[0]) and not kwargs else self


def sgl_kernel() -> types.ModuleType:
    module = types.ModuleType("sgl_kernel")
    vars(module).update((name, _missing(name)) for name in SGL_KERNELS)
    return module


def _missing(name: str) -> object:
    def kernel(*_args: object, **_kwargs: object) -> NoReturn:
        raise NotImplementedError(f"sgl_kernel.{name} does not exist on the CPU")

    return kernel


def torchvision_operators() -> object:
    """Declare the operators. They exist as long as the returned library does."""
    # Imported here because it takes seconds, and many models don't need torchvision.
    import torch  # type: ignore[import-not-found]  # noqa: PLC0415

    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def without_compiler() -> None:
    """Make `torch.compile` return its function unchanged, once torch is imported."""
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "compile"):  # else it is still being imported
        vars(torch)["compile"] = _as_it_is


def _as_it_is(function: object = None, *_: object, **_options: object) -> object:
    """Decorates, as `@torch.compile` and as `@torch.compile(...)`."""
    return function if function is not None else lambda decorated: decorated


class CpuFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the replacements of `triton` and `sgl_kernel`.

    It also prepares the imports of `torchvision` (its operators) and SGLang (`torch.compile`).
    """

    _operators: object = None

    def find_spec(
        self, name: str, _path: object = None, _target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name == "torchvision" and self._operators is None:
            self._operators = torchvision_operators()
        if name.startswith("sglang.srt."):
            without_compiler()
        if name == "sgl_kernel" or name.partition(".")[0] == "triton":
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return sgl_kernel() if spec.name == "sgl_kernel" else Inert(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing to execute: the module is complete."""


sys.meta_path.insert(0, CpuFinder())
