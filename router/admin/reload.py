"""Reloads the operator's models and the callers' keys while the worker runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Generic, Protocol, TypeVar

from router.config.catalog import Catalog, OperatorModel, unruled
from router.config.errors import SettingsError, SettingsMistakes
from router.config.sources import Sources
from router.errors import InvalidRequest
from router.models import EngineKey, EngineSpec
from router.secrets import Secret

_log = logging.getLogger(__name__)

_RESTART = "restart the worker to use it"


class ModelsRead(Protocol):
    """The configuration that a reload reads."""

    @property
    def catalog(self) -> Catalog: ...

    @property
    def gpus(self) -> int:
        """The number of GPUs that the largest engine spans."""
        ...

    @property
    def secrets(self) -> tuple[Secret, ...]: ...

    @property
    def sources(self) -> Sources: ...


C = TypeVar("C", bound=ModelsRead)


class Engines(Protocol):
    """The part of the pool used here."""

    def listed(self) -> list[EngineSpec]:
        """The operator's models whose engine runs, starts, or has a process."""
        ...

    def unload(self, key: EngineKey) -> None: ...

    def rule(self, ruled: Callable[[EngineSpec], EngineSpec]) -> list[EngineKey]:
        """Apply new rules to all engines. Returns those that are unloaded because of them."""
        ...


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The result of a reload.

    * `unloaded`: engines whose models are gone or changed, or may no longer be loaded together.
    * `new`: models to preload that were not listed like this before.
    * `sources`: the files that were read.
    """

    unloaded: tuple[EngineKey, ...]
    new: tuple[OperatorModel, ...]
    sources: Sources = field(default_factory=Sources)


class Reload(Generic[C]):
    """Applies a new configuration as a whole or not at all.

    `read` may take long and runs in a thread. `apply` puts the new configuration in place
    without waiting.
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
        """Reload. Raises `InvalidRequest` with the reason, and then changes nothing."""
        async with self._turn:
            try:
                read = await asyncio.to_thread(self._read)
                self._check(read)
            except SettingsError as error:
                for problem in error.problems:
                    _log.error("not reloaded: %s", problem)
                told = "\n".join(("Nothing has changed.", *error.problems))
                raise InvalidRequest(told) from None
            except Exception:  # noqa: BLE001 - a bad file must not end the worker
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
        """Raise `SettingsError` for a change that needs a restart."""
        if read.gpus > self._gpus:
            raise SettingsMistakes(
                [f"a model needs {read.gpus} GPUs, more than any did at the start: {_RESTART}"]
            )
        if not self._secrets.issuperset(read.secrets):
            # Logs and states redact only the secrets that were known at the start.
            raise SettingsMistakes([f"a `token_env` was not named at the start: {_RESTART}"])

    def _stale(self, before: Catalog, after: Catalog) -> Iterator[EngineKey]:
        for spec in self._engines.listed():
            then, now = before.entry_of(spec), after.entry_of(spec)
            if now is None or then is None or _settings(then) != _settings(now):
                yield spec.key


def _new(before: Catalog, after: Catalog) -> Iterator[OperatorModel]:
    """The models to preload that are new or changed."""
    old = {_settings(one) for one in before.models if one.preload}
    return (one for one in after.models if one.preload and _settings(one) not in old)


def _ruled(catalog: Catalog, spec: EngineSpec) -> EngineSpec:
    """An engine's spec with the catalog's current rules for it."""
    entry = catalog.entry_of(spec) if spec.listed else None
    return spec if entry is None else spec.ruled_as(entry)


def _settings(entry: OperatorModel) -> OperatorModel:
    """The part of the entry that its engine depends on."""
    aliases = entry.aliases[:1] if entry.ref is None else ()
    return replace(unruled(entry), aliases=aliases, preload=False)
