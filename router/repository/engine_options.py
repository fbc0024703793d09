"""Reads from an engine's flags what determines its memory use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from router.repository.conditions import Conditions, pipeline_parallel, tensor_parallel
from router.repository.flag_values import is_set, number_of, value_of

_MOST_GIB = 1 << 20
_SINGLE = frozenset({"float", "float32"})
GIB = 1 << 30


@dataclass(frozen=True)
class EngineOptions:
    """The memory-related options of one engine."""

    on: Conditions

    @property
    def _flags(self) -> Sequence[str]:
        return self.on.flags

    @cached_property
    def tensor(self) -> int:
        """GPUs that share each layer."""
        return tensor_parallel(self._flags)

    @cached_property
    def pipeline(self) -> int:
        """Pipeline stages: groups of GPUs with some of the layers each."""
        return pipeline_parallel(self._flags)

    @cached_property
    def attention(self) -> int:
        """GPUs that share the attention of each layer."""
        if not is_set(self._flags, "--enable-dp-attention"):
            return self.tensor
        copies = number_of(self._flags, "--dp-size", "--data-parallel-size") or 1
        return max(1, self.tensor // copies)

    @cached_property
    def element(self) -> int:
        """Bytes of a number that the engine computes with.

        SGLang loads fp32 as fp16 or bf16, unless a flag says otherwise
        (configs/model_config.py, `_get_and_verify_dtype`).
        """
        return 4 if (value_of(self._flags, "--dtype") or "").lower() in _SINGLE else 2

    @cached_property
    def quantization(self) -> str:
        return (value_of(self._flags, "--quantization") or "").lower()

    @cached_property
    def kv_dtype(self) -> str:
        """The data type of the cache; "": the model's."""
        found = (value_of(self._flags, "--kv-cache-dtype") or "auto").lower()
        return "" if found == "auto" else found

    @cached_property
    def context(self) -> int | None:
        return number_of(self._flags, "--context-length")

    @cached_property
    def chunk(self) -> int | None:
        """Tokens that the engine computes at once. None: not set, or no chunks."""
        return number_of(self._flags, "--chunked-prefill-size", most=1 << 20)

    @cached_property
    def requests(self) -> int | None:
        """Maximum number of requests in flight."""
        return number_of(self._flags, "--max-running-requests", most=1 << 16)

    @cached_property
    def window_share(self) -> float | None:
        """Tokens of sliding-window layers, per token of the other layers."""
        try:
            share = float(value_of(self._flags, "--swa-full-tokens-ratio") or "")
        except ValueError:
            return None
        return share if 0 < share <= 1 else None

    @cached_property
    def windows(self) -> bool:
        """Whether sliding-window layers have a cache of their own, if SGLang supports that."""
        return not is_set(self._flags, "--disable-hybrid-swa-memory")

    @cached_property
    def prefix_cache(self) -> bool:
        return not is_set(self._flags, "--disable-radix-cache")

    @cached_property
    def drafts(self) -> bool:
        """Whether it decodes speculatively, with layers that it otherwise leaves out."""
        return value_of(self._flags, "--speculative-algorithm") is not None

    @cached_property
    def decode_graphs(self) -> bool:
        return not self.on.cpu and not self._without_graphs("decode")

    @cached_property
    def prefill_graphs(self) -> bool:
        return not self.on.cpu and not self._without_graphs("prefill")

    def _without_graphs(self, phase: str) -> bool:
        if is_set(self._flags, "--disable-cuda-graph"):
            return True
        return value_of(self._flags, f"--cuda-graph-backend-{phase}") == "disabled"

    @cached_property
    def offloaded(self) -> int:
        """Bytes of each GPU's weights that stay in host memory."""
        return (number_of(self._flags, "--cpu-offload-gb", most=_MOST_GIB) or 0) * GIB

    @cached_property
    def offloads_more(self) -> bool:
        """Whether an unknown number of further weights may stay in host memory."""
        return self.on.sets("--offload-group-size", "--ple-offload-embedding")
