"""Reads from a model's files what the start of its engine needs to know.

A stranger's configuration can have megabytes. Parsing them holds Python's GIL for a second,
so a side process does it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from engines.vocabulary import vocabulary
from router.models import Task
from router.pool.interfaces import EngineStartError
from router.repository.chat_template import reranks, template_of
from router.repository.check_vectors import pools_mean
from router.repository.engine_flags import ModelFlags, engine_flags
from router.repository.model_config import model_config
from router.repository.pairs import scores_pairs
from router.side_process import Aside, SideProcessDied


@dataclass(frozen=True, slots=True)
class ModelNeeds:
    """What a model needs from its engine, and which requests it can serve.

    * `flags`: for the engine's command line.
    * `pools_mean`: SGLang must take the mean of an encoder's token vectors.
    * `scores_pairs`: see `router.repository.pairs`. Also False for a generation model that
      SGLang can't use to rerank.
    * `vocabulary`: the number of tokens; None if the files do not say.
    """

    flags: ModelFlags
    pools_mean: bool
    scores_pairs: bool | None
    vocabulary: int | None


def read_needs(
    _data: bytes, snapshot: Path, task: Task, cache: int | None
) -> tuple[ModelNeeds, bytes]:
    """Read the needs, in a side process. Never raises because of a file's content."""
    config = model_config(snapshot)
    needs = ModelNeeds(
        engine_flags(config, task, cache=cache),
        pools_mean(snapshot),
        scores_pairs(config) if task is not Task.GENERATE else _may_rerank(snapshot),
        vocabulary(snapshot),
    )
    return needs, b""


def _may_rerank(snapshot: Path) -> bool | None:
    return None if reranks(template_of(snapshot)) else False


async def needs_of(
    snapshot: Path, task: Task, cache: int | None, aside: Aside | None
) -> ModelNeeds:
    """Read the needs of a model. `aside` is the side process; without it, a thread reads.

    `cache`: the size of the KV cache in tokens; None if SGLang chooses it. Raises
    `EngineStartError` if reading takes too long or the side process dies.
    """
    if aside is None:
        return (await asyncio.to_thread(read_needs, b"", snapshot, task, cache))[0]
    try:
        return (await aside.run(read_needs, snapshot, task, cache))[0]
    except (TimeoutError, SideProcessDied) as error:
        raise EngineStartError("the model's files could not be read") from error
