"""The operator's configuration, and what it means for models and engines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from engines import flags
from engines.declared_memory import check_declared
from engines.engine_user import User, engine_user
from engines.interpreter import Finding
from engines.memory import find_gpus
from engines.places import check_places
from router.access.credentials import Credentials
from router.config import files, operator_keys, operator_models
from router.config.caller_keys import CallerKeys
from router.config.catalog import Catalog
from router.config.errors import MistakesSoFar
from router.config.settings import Platform, Settings
from router.config.sources import Sources
from router.downloads.cache_check import snapshot_on_disk
from router.pool.history_file import HistoryFile
from router.repository.conditions import Machine
from router.repository.directory import task_of_directory
from router.repository.spread import spanned
from router.secrets import Secret
from router.traces.collector import Collector, configured_collector

_MORE_MODELS = "SGLANG_EXTERNAL_MODEL_PACKAGE"  # SGLang's, for other architectures


@dataclass(frozen=True, slots=True)
class Configuration:
    """The operator's configuration, read once."""

    environ: Mapping[str, str]
    settings: Settings
    catalog: Catalog
    credentials: Credentials
    engine_flags: tuple[str, ...]
    engine_user: User | None
    keys: CallerKeys = field(default_factory=CallerKeys)
    collector: Collector | None = None  # of spans
    knows_sglang: bool = True  # the engines run the release in our tables
    has_saver: bool = False  # engines can sleep
    has_gate: bool = False  # an engine's process can be started ahead
    sglang: str = ""  # the engines' version; empty: unknown
    engines_lack: tuple[str, ...] = ()  # packages that tokenizers may need

    @classmethod
    def read(
        cls, environ: Mapping[str, str], platform: Platform | None = None
    ) -> Configuration:
        """Read everything. Raises one `SettingsError` with all mistakes."""
        settings = Settings.from_environ(environ, platform)
        mistakes = MistakesSoFar()
        catalog, keys = Catalog(()), CallerKeys()
        common: tuple[str, ...] = ()
        with mistakes.collecting():
            files.check(settings)
        with mistakes.collecting():
            catalog = operator_models.catalog(settings).judged(task_of_directory)
        with mistakes.collecting():
            keys = operator_keys.keys(settings, environ)
        with mistakes.collecting():
            common = flags.flags(environ)
        with mistakes.collecting():
            user = engine_user(settings.engine_user)
        for model in catalog.models:
            with mistakes.collecting():
                flags.refuse_reserved(f"{model.where}: flags", model.flags)
        on_disk = partial(snapshot_on_disk, caches=settings.hub_caches)
        with mistakes.collecting():
            check_declared(catalog.models, common, on_disk)
        with mistakes.collecting():
            check_places(catalog.models, common, lambda: len(find_gpus(environ)))
        with mistakes.collecting():
            credentials = Credentials.read(settings, catalog, environ)
        with mistakes.collecting():
            collector = configured_collector(environ)
        mistakes.raise_any()
        return cls(environ, settings, catalog, credentials, common, user, keys, collector)

    def with_engines(self, found: Finding) -> Configuration:
        """A copy with the facts about `ENGINE_PYTHON`."""
        return replace(
            self,
            knows_sglang=not found.is_warning,
            has_saver=found.has_saver,
            has_gate=found.has_gate,
            sglang=found.version,
            engines_lack=found.lacks,
        )

    @property
    def sources(self) -> Sources:
        return Sources.of(self.settings, len(self.keys.keys))

    @property
    def gpus(self) -> int:
        """The number of GPUs that the largest engine needs, by the operator's flags."""
        own = [(), *(model.flags for model in self.catalog.models)]
        return max(spanned((*self.engine_flags, *flags)) for flags in own)

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Values that must never be logged and that only a restart can change."""
        more = () if self.collector is None else self.collector.secrets
        return (*self.settings.secrets, *self.credentials.secrets, *more)

    @property
    def secrets_and_keys(self) -> tuple[Secret, ...]:
        """All values that must never be logged."""
        return (*self.secrets, *self.keys.secrets)


def machine(
    configuration: Configuration,
    *,
    memory: int,
    cpu: bool,
    capability: int | None,
    devices: int,
    budget: int,
) -> Machine:
    """The machine that models must fit. `memory` and `budget` are in bytes per device."""
    plain = configuration.knows_sglang and not configuration.environ.get(_MORE_MODELS)
    lacks = configuration.engines_lack
    return Machine(memory, cpu, capability, plain, lacks, devices, budget)


def history_file(configuration: Configuration, device: str) -> HistoryFile | None:
    """The measurements of this SGLang version on this device; None if either is unknown."""
    if not (device and configuration.sglang):
        return None
    platform = f"SGLang {configuration.sglang}, {device}"
    return HistoryFile.of(configuration.settings.hf_hub_cache, platform)
