"""The operator's models and the callers' keys, read anew while the worker runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Generic, Protocol, TypeVar

from router.admin.names import entry_of
from router.config.catalog import Catalog, OperatorModel, unruled
from router.config.errors import SettingsError, SettingsMistakes
from router.config.sources import Sources
from router.errors import InvalidRequest
from router.models import EngineKey, EngineSpec
from router.secrets import Secret

_log = logging.getLogger(__name__)

_RESTART = "restart the worker to use it"


class ModelsRead(Protocol):
    """What is read anew."""

    @property
    def catalog(self) -> Catalog: ...

    @property
    def gpus(self) -> int:
        """How many the largest engine spans."""
        ...

    @property
    def secrets(self) -> tuple[Secret, ...]: ...

    @property
    def sources(self) -> Sources: ...


C = TypeVar("C", bound=ModelsRead)


class Engines(Protocol):
    """What this needs of the pool."""

    def listed(self) -> list[EngineSpec]:
        """The operator's models that are up, come, or have a process."""
        ...

    def unload(self, key: EngineKey) -> None: ...

    def rule(self, ruled: Callable[[EngineSpec], EngineSpec]) -> list[EngineKey]:
        """Have all engines kept to other rules. Returns those that leave because of these."""
        ...


@dataclass(frozen=True, slots=True)
class Reloaded:
    """`unloaded`: engines of models that are gone or have changed, or that may no longer be
    loaded together. `new`: models that are to be preloaded, and were not listed so before.
    `sources`: what was read."""

    unloaded: tuple[EngineKey, ...]
    new: tuple[OperatorModel, ...]
    sources: Sources = field(default_factory=Sources)


class Reload(Generic[C]):
    """Takes on a new configuration as a whole, or nothing of it.

    `read` may take long, and runs in a thread. `apply` puts what was read in place, at once.
    """

    def __init__(
        self,
        current: C,
        read: Callable[[], C],
        apply: Callable[[C], None],
        engines: Engines,
    ) -> None:
        self._current, self._read, self._apply = current, read, apply
        self._gpus, self._secrets = current.gpus, frozenset(current.secrets)  # at the start
        self._engines = engines
        self._turn = asyncio.Lock()

    async def __call__(self) -> Reloaded:
        """Raises `InvalidRequest`, with the reason, and then nothing has changed."""
        async with self._turn:
            try:
                read = await asyncio.to_thread(self._read)
                self._check(read)
            except SettingsError as error:
                for problem in error.problems:
                    _log.error("not reloaded: %s", problem)
                told = "\n".join(("Nothing has changed.", *error.problems))
                raise InvalidRequest(told) from None
            except Exception:  # noqa: BLE001 - no file is a reason for a worker to end
                _log.exception("not reloaded: the router failed to read the files")
                told = "Nothing has changed: the files can't be read. The log says why."
                raise InvalidRequest(told) from None
            before, after = self._current.catalog, read.catalog
            stale, new = tuple(self._stale(before, after)), tuple(_new(before, after))
            self._apply(read)
            self._current = read
            for key in stale:
                self._engines.unload(key)
            parted = self._engines.rule(partial(_ruled, after))
        leave = tuple(dict.fromkeys((*stale, *parted)))
        told = ", ".join(map(str, leave)) or "none"
        _log.info(
            "reloaded: %s; your models: %d; engines to unload: %s",
            *(read.sources, len(after.models), told),
        )
        return Reloaded(leave, new, read.sources)

    def _check(self, read: C) -> None:
        """Raises `SettingsError` for what takes a new process."""
        if read.gpus > self._gpus:
            raise SettingsMistakes(
                [f"a model needs {read.gpus} GPUs, more than any did at the start: {_RESTART}"]
            )
        if not self._secrets.issuperset(read.secrets):
            # Logs and states hide the secrets that were known at the start.
            raise SettingsMistakes([f"a `token_env` was not named at the start: {_RESTART}"])

    def _stale(self, before: Catalog, after: Catalog) -> Iterator[EngineKey]:
        for spec in self._engines.listed():
            then, now = entry_of(before, spec), entry_of(after, spec)
            if now is None or then is None or _settings(then) != _settings(now):
                yield spec.key


def _new(before: Catalog, after: Catalog) -> Iterator[OperatorModel]:
    """The models that are to be preloaded now."""
    old = {_settings(one) for one in before.models if one.preload}
    return (one for one in after.models if one.preload and _settings(one) not in old)


def _ruled(catalog: Catalog, spec: EngineSpec) -> EngineSpec:
    """An engine's spec with the rules that the catalog has for it."""
    entry = entry_of(catalog, spec) if spec.listed else None
    return spec if entry is None else spec.ruled_as(entry)


def _settings(entry: OperatorModel) -> OperatorModel:
    """What its engine depends on."""
    aliases = entry.aliases[:1] if entry.ref is None else ()
    return replace(unruled(entry), aliases=aliases, preload=False)
