"""What an engine's start needs to know of its model's files.

A stranger's configuration can have megabytes, and parsing them holds Python's lock for a
second: that is work for a side process.
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
    """What a model needs of its engine, and what may be asked of it.

    * `pools_mean`: SGLang is to take the mean of an encoder's tokens.
    * `scores_pairs`: see `router.repository.pairs`. Also False for a generation model with
      which SGLang would not rerank.
    * `vocabulary`: in tokens; None if the files do not tell.
    """

    flags: ModelFlags
    pools_mean: bool
    scores_pairs: bool | None
    vocabulary: int | None


def read_needs(
    _data: bytes, snapshot: Path, task: Task, cache: int | None
) -> tuple[ModelNeeds, bytes]:
    """For a side process. Raises nothing for what the files hold."""
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
    """`cache`: tokens of the KV cache, where it is fixed. Without `aside`, a thread reads.

    Raises `EngineStartError` where the files take too long.
    """
    if aside is None:
        return (await asyncio.to_thread(read_needs, b"", snapshot, task, cache))[0]
    try:
        return (await aside.run(read_needs, snapshot, task, cache))[0]
    except (TimeoutError, SideProcessDied) as error:
        raise EngineStartError("the model's files could not be read") from error
