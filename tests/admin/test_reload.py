"""The operator's models are reloaded as a whole, or not at all."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from router.admin.reload import Reload
from router.config.catalog import LOCAL_COMMIT, Catalog, OperatorModel
from router.config.errors import SettingsError
from router.config.sources import Sources
from router.errors import InvalidRequest
from router.models import Access, EngineKey, EngineSpec, ModelGroup, ModelRef, ResolvedModel
from router.secrets import Secret

CHAT = OperatorModel(source=ModelRef("org/chat"), aliases=("chat",), memory=100)
JUDGE = OperatorModel(source=ModelRef("org/judge", "v2"), memory=100)
BAKED = OperatorModel(source=Path("/models/baked"), aliases=("baked",))
KNOWN = Secret(secrets.token_hex(16))


@dataclass(frozen=True)
class Read:
    catalog: Catalog
    gpus: int = 1
    secrets: tuple[Secret, ...] = (KNOWN,)
    sources: Sources = field(default_factory=Sources)


def engine(entry: OperatorModel) -> EngineSpec:
    if isinstance(entry.source, Path):
        model = ResolvedModel(entry.name, LOCAL_COMMIT, access=Access.LOCAL, path=entry.source)
    else:
        ref = entry.source
        model = ResolvedModel(ref.repo_id, "c" * 40, branch=ref.revision or "main")
    return EngineSpec(model, listed=True)


@dataclass
class Operated:
    """A worker with an engine for each of its initial models."""

    models: tuple[OperatorModel, ...] = (CHAT, JUDGE, BAKED)
    applied: list[Read] = field(default_factory=list)
    unloaded: list[EngineKey] = field(default_factory=list)
    specs: list[EngineSpec] = field(default_factory=list)  # after the last reload
    parted: list[EngineKey] = field(default_factory=list)  # they leave because of new rules

    def listed(self) -> list[EngineSpec]:
        return [engine(one) for one in self.models]

    def unload(self, key: EngineKey) -> None:
        assert self.applied, "unloaded before the new models are in place"
        self.unloaded.append(key)

    def rule(self, ruled: Callable[[EngineSpec], EngineSpec]) -> list[EngineKey]:
        assert self.applied, "ruled before the new models are in place"
        self.specs = [ruled(one) for one in self.listed()]
        return self.parted

    async def reload(self, read: Read | SettingsError) -> tuple[OperatorModel, ...]:
        """Reload the models. Returns those to preload."""

        def do() -> Read:
            assert threading.current_thread() is not threading.main_thread()
            if isinstance(read, SettingsError):
                raise read
            return read

        reload = Reload(Read(Catalog(self.models)), do, self.applied.append, self)
        return (await reload()).new


@pytest.fixture
def worker() -> Operated:
    return Operated()


async def test_what_has_not_changed_stays(worker: Operated) -> None:
    renamed = replace(CHAT, aliases=("talk",), preload=True)
    read = Read(Catalog([BAKED, renamed, JUDGE]))
    assert await worker.reload(read) == (renamed,)
    assert (worker.applied, worker.unloaded) == ([read], [])


@pytest.mark.parametrize(
    "changed",
    [
        replace(CHAT, memory=200),
        replace(CHAT, flags=("--context-length", "9")),
        replace(CHAT, token_env="ORG_TOKEN"),
        replace(CHAT, trust_remote_code=True),
        replace(CHAT, source=ModelRef("org/chat", "v2")),
    ],
    ids=str,
)
async def test_a_model_that_has_changed_is_unloaded(
    worker: Operated, changed: OperatorModel
) -> None:
    await worker.reload(Read(Catalog([changed, JUDGE, BAKED])))
    assert worker.unloaded == [engine(CHAT).key]


@pytest.mark.parametrize(
    "rules",
    [
        {"pinned": True},
        {"idle_ttl": 9.0},
        {"group": ModelGroup("large")},
        {"max_concurrency": 2, "max_queue": 3},
    ],
    ids=str,
)
async def test_what_the_router_keeps_to_by_itself_changes_and_unloads_nothing(
    worker: Operated, rules: dict[str, Any]
) -> None:
    await worker.reload(Read(Catalog([replace(CHAT, **rules), JUDGE, BAKED])))
    assert worker.unloaded == []
    expected = [replace(engine(CHAT), **rules), engine(JUDGE), engine(BAKED)]
    assert worker.specs == expected


async def test_engines_that_new_groups_part_are_told_as_unloaded(
    worker: Operated, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    worker.parted = [engine(JUDGE).key]
    read = Read(
        Catalog([replace(one, group=ModelGroup("large")) for one in (CHAT, JUDGE, BAKED)])
    )
    reload = Reload(Read(Catalog(worker.models)), lambda: read, worker.applied.append, worker)
    assert (await reload()).unloaded == (engine(JUDGE).key,)
    assert f"your models: 3; engines to unload: {engine(JUDGE).key}" in caplog.text


async def test_models_that_are_gone_are_unloaded(worker: Operated) -> None:
    await worker.reload(Read(Catalog([CHAT])))
    assert worker.unloaded == [engine(JUDGE).key, engine(BAKED).key]


async def test_what_is_wrong_changes_nothing_and_says_why(worker: Operated) -> None:
    wrong = SettingsError("MODELS_CONFIG[1].memory", "much", "a size")
    with pytest.raises(InvalidRequest, match=r"MODELS_CONFIG\[1\].memory='much'"):
        await worker.reload(wrong)
    assert (worker.applied, worker.unloaded) == ([], [])


@pytest.mark.parametrize(
    "read",
    [
        Read(Catalog([CHAT]), gpus=2),
        Read(Catalog([CHAT]), secrets=(KNOWN, Secret(secrets.token_hex(16)))),
    ],
    ids=["more GPUs", "a token that the log does not know"],
)
async def test_what_takes_a_new_process_changes_nothing(worker: Operated, read: Read) -> None:
    with pytest.raises(InvalidRequest, match="at the start: restart the worker"):
        await worker.reload(read)
    assert (worker.applied, worker.unloaded) == ([], [])


async def test_what_the_worker_began_with_may_come_back(worker: Operated) -> None:
    token = Secret(secrets.token_hex(16))
    whole = Read(Catalog(worker.models), gpus=2, secrets=(KNOWN, token))
    reads = [Read(Catalog([CHAT])), whole]
    left = iter(reads)
    reload = Reload(whole, lambda: next(left), worker.applied.append, worker)
    await reload()
    await reload()
    assert worker.applied == reads


async def test_a_defect_while_files_are_read_changes_nothing(
    worker: Operated, caplog: pytest.LogCaptureFixture
) -> None:
    def read() -> Read:
        raise ZeroDivisionError

    reload = Reload(Read(Catalog(worker.models)), read, worker.applied.append, worker)
    with pytest.raises(InvalidRequest, match="The log says why"):
        await reload()
    assert worker.applied == []
    assert "ZeroDivisionError" in caplog.text


async def test_reloads_take_turns(worker: Operated) -> None:
    reads = [Read(Catalog([CHAT])), Read(Catalog([CHAT, JUDGE]))]
    left = iter(reads)
    reload = Reload(
        Read(Catalog(worker.models)), lambda: next(left), worker.applied.append, worker
    )
    await asyncio.gather(reload(), reload())
    assert worker.applied == reads
