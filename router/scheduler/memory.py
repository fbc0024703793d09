"""How much of the device an engine is given: its claim, in bytes, and its cache, in tokens.

What the operator declares counts. Else it is what the model's plan says: weights, overhead,
and a cache for `USUAL` tokens or for one request of the model's whole context, whichever is
less. A model that has a state for each request gets one for every `SMALLEST` tokens. On a
device that is too small for that, the cache shrinks, down to `SMALLEST` tokens. All of an
estimate but the weights counts a fifth more until the engine was measured once. Without a plan,
engines share the budget equally.

An engine that ran out of memory at its start is tried with half of the cache, and then with the
whole device.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from router.models import EngineSpec, MemoryPlan

USUAL = 32_768  # tokens
SMALLEST = 4_096  # tokens
MARGIN = 0.2  # of all that is estimated; the bytes of the weights are known

# What an engine may take on top of what it had when it became ready: kernels that are loaded
# late, and activations of larger batches than the warm-up's. Chosen figures, not measured ones.
SLACK = 1 << 29  # bytes
LATE = 0.6  # of the overhead


class Shrink(IntEnum):
    """What the starts before have taught: how much less the next one asks for."""

    NONE = 0
    HALF_THE_CACHE = 1
    WHOLE_DEVICE = 2  # the half of the cache, and no other engine beside it


@dataclass(frozen=True, slots=True)
class Claim:
    memory: int  # bytes
    tokens: int | None = None  # of the cache; None: what fits


def claim(
    spec: EngineSpec,
    plan: MemoryPlan | None,
    measured: int | None,
    shrink: Shrink,
    *,
    device: int,
    share: int,
) -> Claim:
    """What an engine is to get.

    `measured`: bytes that it took before, with the cache that is planned. `device`: bytes of
    the budget. `share`: of one of equal shares, for a model without a plan.
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
    # With the margin it may not fit: then it gets all there is.
    return Claim(max(estimate, min(estimate + margin, device)), tokens)


def slack(plan: MemoryPlan) -> int:
    """Bytes that an engine may take after it was measured."""
    return max(SLACK, int(plan.overhead * LATE))


def total(plan: MemoryPlan, tokens: int) -> int:
    """Bytes of an engine with a cache of so many tokens."""
    return plan.weights + plan.overhead + _of_a_token(plan) * tokens


def _of_a_token(plan: MemoryPlan) -> int:
    """Bytes, with a token's share of the state that its request has."""
    return plan.token + -(-plan.sequence // SMALLEST)


def _tokens(plan: MemoryPlan, shrink: Shrink, device: int) -> int:
    smallest = min(plan.context, SMALLEST)
    usual = max(smallest, min(plan.context, USUAL))
    if shrink:
        usual = max(smallest, usual // 2)
    fitting = _fitting(plan, device)
    return usual if fitting is None else max(smallest, min(usual, fitting))


def _fitting(plan: MemoryPlan, memory: int) -> int | None:
    """The tokens that memory is left for; None: they take none."""
    token = _of_a_token(plan)
    return max(0, memory - total(plan, 0)) // token if token else None
