"""Computes an engine's share of the device: its claim in bytes and its cache in tokens.

The operator's declaration comes first. Otherwise the claim comes from the model's plan:
weights, overhead, and a cache for `USUAL` tokens or for one request with the whole context of
the model, whichever is less. A model with per-request state gets one state for every `SMALLEST`
tokens. On a device that is too small, the cache shrinks to no less than `SMALLEST` tokens.
Until the engine was measured once, everything except the weights counts a fifth more. Without a
plan, engines share the budget equally.

If a start runs out of memory, the next one gets half of the cache, and the one after that the
whole device.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from router.models import EngineSpec, MemoryPlan

USUAL = 32_768  # tokens
SMALLEST = 4_096  # tokens
MARGIN = 0.2  # of all estimates; the size of the weights is exact

# Memory that an engine may take after it became ready: for kernels that are loaded late, and
# for activations of larger batches than those of the warm-up. These values were chosen, not
# measured.
SLACK = 1 << 29  # bytes
LATE = 0.6  # share of the overhead


class Shrink(IntEnum):
    """How the next start is reduced after starts that ran out of memory."""

    NONE = 0
    HALF_THE_CACHE = 1
    WHOLE_DEVICE = 2  # half of the cache, and no other engine on the device


@dataclass(frozen=True, slots=True)
class Claim:
    memory: int  # bytes
    tokens: int | None = None  # of the cache; None: as many as fit


def claim(
    spec: EngineSpec,
    plan: MemoryPlan | None,
    measured: int | None,
    shrink: Shrink,
    *,
    device: int,
    share: int,
) -> Claim:
    """Compute the claim of an engine.

    `measured`: bytes that it took before, with the planned cache. `device`: bytes of the device
    that engines may use. `share`: bytes of an equal share, for a model without a plan.
    """
    if shrink is Shrink.WHOLE_DEVICE:
        return Claim(device, _tokens(plan, shrink, device) if plan else None)
    if spec.memory is not None:
        return Claim(spec.memory, _fitting(plan, spec.memory) if plan else None)
    if plan is None:
        return Claim(share)
    tokens = _tokens(plan, shrink, device)
    if measured is not None and shrink is Shrink.NONE:
        return Claim(measured + slack(plan), tokens)
    estimate = total(plan, tokens)
    margin = int((estimate - plan.weights) * MARGIN)
    # If the margin does not fit, it gets the whole device.
    return Claim(max(estimate, min(estimate + margin, device)), tokens)


def slack(plan: MemoryPlan) -> int:
    """Bytes that an engine may take after it was measured."""
    return max(SLACK, int(plan.overhead * LATE))


def total(plan: MemoryPlan, tokens: int) -> int:
    """Bytes of an engine with a cache of this many tokens."""
    return plan.weights + plan.overhead + _of_a_token(plan) * tokens


def _of_a_token(plan: MemoryPlan) -> int:
    """Bytes per token, including the token's share of the request's state."""
    return plan.token + -(-plan.sequence // SMALLEST)


def _tokens(plan: MemoryPlan, shrink: Shrink, device: int) -> int:
    smallest = min(plan.context, SMALLEST)
    usual = max(smallest, min(plan.context, USUAL))
    if shrink:
        usual = max(smallest, usual // 2)
    fitting = _fitting(plan, device)
    return usual if fitting is None else max(smallest, min(usual, fitting))


def _fitting(plan: MemoryPlan, memory: int) -> int | None:
    """The number of tokens that fit; None if tokens take no memory."""
    token = _of_a_token(plan)
    return max(0, memory - total(plan, 0)) // token if token else None
