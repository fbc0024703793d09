"""Bytes that an engine takes in addition to its weights and its cache, on each GPU.

SGLang 0.5.23's own estimate (srt/arg_groups/memory_hook.py, `handle_gpu_memory_settings`)
ignores the model: 512 MiB, 1.5 MiB for each token that it computes at once, 2 MiB for each
request in a decode graph, 8 MiB for each prefill graph, 1 GiB for 8 GPUs. This estimate
replaces the second term by the working set of the model's own layers, if that is less.
"""

from __future__ import annotations

from router.repository.cache_size import is_latent
from router.repository.engine_options import GIB, EngineOptions
from router.repository.model_shape import Shape

_MIB = 1 << 20

# A PyTorch process that has computed something, with its kernels. Chosen, not measured.
_CONTEXT = GIB // 2
# SGLang's "constant meta data". FlashInfer's workspace alone takes 384 MiB of it.
_CONSTANT = GIB // 2
# Measured on a CPU: the processes of an SGLang engine, without weights.
_CPU_PROCESSES = 1_640_000_000

CHUNK = 2048
"""Tokens that an engine computes at once by default. `engines/command.py` sets this chunk size
for engines that share a GPU."""

_MOST_PER_TOKEN = 3 * _MIB // 2  # SGLang's own estimate, for any model
# The allocator keeps blocks that the next layer can't use. Chosen, not measured.
_FRAGMENTS = 2
_PER_DECODE = 2 * _MIB
_PER_PREFILL_GRAPH = 8 * _MIB
_PREFILL_OF_LATENT = 3 * GIB // 2
_PER_GPU = GIB // 8  # for several GPUs: buffers of NCCL and of all-reduce
# Bytes per logit in a batch: bf16, fp32, probabilities, and the memory to sort them.
_PER_SCORE = 10

# SGLang's table: the largest batch in a decode graph, by GiB of the GPU.
_BATCHES = ((20, 8), (35, 48), (60, 32), (160, 256))
_LARGEST_BATCH = 512
_UNKNOWN_BATCH = 160
# The lengths for which SGLang records a prefill graph: from, to, step.
_PREFILL_STEPS = ((4, 32, 4), (48, 256, 16), (288, 512, 32), (576, 1024, 64), (1280, 4096, 256))
_PREFILL_STEP = 512  # above these

# SGLang reserves a fifth of all memory for the largest vision towers, and a twentieth for usual
# ones. Its image caches take 100 MiB. Chosen for 4,096 patches at once, not measured.
_PATCHES = 4096
_IMAGES = 100 * _MIB


def overhead_bytes(shape: Shape, options: EngineOptions) -> int:
    chunk = options.chunk or CHUNK
    batch = _batch(options)
    size = _fixed(options)
    size += chunk * min(_FRAGMENTS * per_token(shape, options), _MOST_PER_TOKEN)
    size += batch * shape.vocabulary * _PER_SCORE
    size += _graphs(shape, options, chunk, batch)
    return size + _vision(shape, options)


def _fixed(options: EngineOptions) -> int:
    if options.on.cpu:
        return _CPU_PROCESSES
    count = options.tensor * options.pipeline
    return _CONTEXT + _CONSTANT + (count * _PER_GPU if count > 1 else 0)


def per_token(shape: Shape, options: EngineOptions) -> int:
    """Bytes that a layer computes per token."""
    attention = 2 * shape.head * (shape.heads + shape.kv_heads) // options.attention
    dense = 3 * shape.feed_forward // options.tensor
    chosen = shape.number("num_experts_per_tok", "num_experts_per_token", most=1 << 10)
    expert = shape.number("moe_intermediate_size", most=1 << 24) or shape.feed_forward
    mixed = chosen * (3 * expert // options.tensor + shape.width)
    return options.element * (6 * shape.width + max(attention, dense, mixed))


def _batch(options: EngineOptions) -> int:
    """Requests that one step computes."""
    most = _largest_batch(options)
    return min(options.requests or most, most)


def _largest_batch(options: EngineOptions) -> int:
    if options.on.cpu:
        return 8
    if options.on.memory is None:
        return _UNKNOWN_BATCH
    gib = options.on.memory / GIB
    return next((batch for most, batch in _BATCHES if gib < most), _LARGEST_BATCH)


def _graphs(shape: Shape, options: EngineOptions, chunk: int, batch: int) -> int:
    size = batch * _PER_DECODE if options.decode_graphs else 0
    if options.prefill_graphs:
        latent = is_latent(shape)
        size += _PREFILL_OF_LATENT if latent else prefills(chunk) * _PER_PREFILL_GRAPH
    return size


def prefills(chunk: int) -> int:
    """The number of lengths that SGLang records, up to a whole chunk."""
    count = sum(
        max(0, (min(chunk, last) - first) // step + 1) for first, last, step in _PREFILL_STEPS
    )
    return count + max(0, (chunk - _PREFILL_STEPS[-1][1]) // _PREFILL_STEP)


def _vision(shape: Shape, options: EngineOptions) -> int:
    if shape.reads_text_alone:
        return 0
    width, inner = shape.vision
    return _IMAGES + _FRAGMENTS * _PATCHES * options.element * (6 * width + 3 * inner)
