"""Flags that keep an engine on a GPU within its claim."""

from __future__ import annotations

import math

from router.repository.engine_flags import PREFILL
from router.scheduler.actions import Allotment

_GIB = 1 << 30

# An engine that shares its GPU gets the smallest prefill chunk that SGLang uses; by default
# SGLang sizes the chunk for the whole GPU.
# An encoder has no chunks; it computes that many tokens at once.
_SHARED_CHUNK = PREFILL  # tokens
# SGLang's own estimate of the memory besides weights and KV cache: 512 MiB, plus 1.5 MiB per
# token of the prefill chunk (sglang 0.5.23, arg_groups/memory_hook.py).
_RESERVE = _GIB // 2 + _SHARED_CHUNK * 3 * (1 << 19)  # bytes
_MAX_RESERVE = 0.25  # of the claim, so that a small claim is not all reserve
_SMALLER = 0.85
# SGLang's estimate of the size of a process's CUDA context.
_CONTEXT = _GIB // 2  # bytes
_MAX_CONTEXT = 0.125  # of the claim


def memory_flags(allotment: Allotment, *, waits: bool = False) -> tuple[str, ...]:
    """Flags that size the KV cache of an engine on a GPU.

    Let f be `--mem-fraction-static`, and `before` and `after` the free memory before and after
    the weights are loaded. SGLang then gives the KV cache
    (kv_cache_configurator.py, `_profile_available_bytes`)

        after - before * (1 - f)  =  f * before - weights

    or `--max-total-tokens`, whichever is less. Activations and graphs come on top; the claim
    includes them. It also includes the CUDA context, but SGLang measures `before` when the
    context already exists.

    If the number of tokens is not planned, f alone bounds weights and cache together:

        f = (claim - reserve) / free, times 0.85 after the engine ran out of memory

    An engine that has the GPU to itself gets no such flags at first: SGLang then decides.

    If it is planned, the claim is weights + tokens + the rest, and the tokens are the bound.
    f must leave room for them, and limits the damage of an estimate that is too low:

        f = (claim - context) / free

    Then f * before is at least (claim - context) * (free - context) / free, which is more than
    claim - 2 * context. So the tokens fit if the rest is twice the context, and it is more.
    Weights and cache together stay below claim - context, whatever the estimate.

    With `waits`, the engine loads later. The free memory at that time is not known, except
    that it will be at least the claim, so f is computed for `free = claim`. If more is free,
    the tokens still bound the cache, but f does not: if a token takes more memory than
    estimated, the cache exceeds its plan by that much.
    """
    if allotment.tokens is not None:
        return _planned(allotment, allotment.tokens, waits=waits)
    if not _is_bounded(allotment):
        return ()
    reserve = min(_RESERVE, int(allotment.claim * _MAX_RESERVE))
    fraction = (allotment.claim - reserve) / max(allotment.free, allotment.claim)
    if allotment.smaller:
        fraction *= _SMALLER
    return (
        *("--mem-fraction-static", f"{math.floor(fraction * 1000) / 1000:.3f}"),
        *("--chunked-prefill-size", str(_SHARED_CHUNK)),
    )


def _is_bounded(allotment: Allotment) -> bool:
    return not allotment.whole or allotment.smaller


def _planned(allotment: Allotment, tokens: int, *, waits: bool) -> tuple[str, ...]:
    claim = allotment.claim
    free = claim if waits else max(allotment.free, claim)
    fraction = (claim - min(_CONTEXT, int(claim * _MAX_CONTEXT))) / free
    if allotment.smaller:
        tokens = int(tokens * _SMALLER)
    return (
        *("--mem-fraction-static", f"{math.ceil(fraction * 10_000) / 10_000:.4f}"),
        *("--max-total-tokens", str(tokens)),
        *("--chunked-prefill-size", str(_SHARED_CHUNK)),
    )


def bounds_later(allotment: Allotment) -> bool:
    """Whether `memory_flags` can be computed before the free memory is known.

    Without a planned number of tokens, an engine that shares a GPU would take its fraction of
    all the memory that is free later.
    """
    return allotment.tokens is not None or not _is_bounded(allotment)
