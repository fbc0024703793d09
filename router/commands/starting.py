"""The log lines of a worker's start, as text and as JSON fields. They hold no secrets."""

from __future__ import annotations

import logging
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass

from engines.devices import DeviceFacts, devices
from engines.interpreter import Finding
from router import __version__
from router.app.configuration import Configuration
from router.config.catalog import OperatorModel
from router.config.hosts import is_loopback
from router.config.platform import Platform
from router.config.settings import Settings
from router.downloads.space import existing
from router.logs import one_line
from router.redaction import Redactor
from router.told import ToldRecord

_MOST_NAMED = 20  # models


@dataclass(frozen=True, slots=True)
class StartLine:
    """A log line, as text and as fields."""

    text: str
    facts: Mapping[str, object]
    level: int = logging.INFO

    def __str__(self) -> str:
        return self.text

    def fields(self) -> Mapping[str, object]:
        return {"message": self.text, **self.facts}

    def without(self, redact: Callable[[str], str]) -> StartLine:
        """The line without secrets: names and paths can contain anything."""

        def clean(value: object) -> object:
            if isinstance(value, str):
                return one_line(redact(value))
            if isinstance(value, list):
                return [clean(one) for one in value]
            if isinstance(value, dict):
                return {name: clean(one) for name, one in value.items()}
            return value

        facts = {name: clean(value) for name, value in self.facts.items()}
        return StartLine(one_line(redact(self.text)), facts, self.level)


def tell_start(
    log: logging.Logger, configuration: Configuration, found: Finding, redact: Redactor
) -> None:
    for line in lines(configuration, found):
        if log.isEnabledFor(line.level):
            log.handle(ToldRecord(log.name, line.level, line.without(redact)))


def lines(configuration: Configuration, found: Finding) -> Iterator[StartLine]:
    """All lines. `found`: the facts about ENGINE_PYTHON."""
    settings = configuration.settings
    yield versions(found)
    yield hardware(devices(configuration.environ))
    yield models(configuration.catalog.models)
    yield cache(settings)
    yield callers(settings)
    yield limits(settings)
    if configuration.collector is not None:
        address = configuration.collector.address
        yield StartLine(f"spans of requests go to {address}", {"collector": address})


def versions(found: Finding) -> StartLine:
    sglang = found.version or "of an unknown version"
    sleeps = "can sleep" if found.has_saver else "can't sleep (no torch_memory_saver)"
    ahead = "start ahead" if found.has_gate else "don't start ahead (no gate)"
    return StartLine(
        f"model-router {__version__}, Python {platform.python_version()}; engines run SGLang "
        f"{sglang}, {sleeps}, {ahead}",
        {
            "router": __version__,
            "python": platform.python_version(),
            "sglang": found.version,
            "saver": found.has_saver,
            "gate": found.has_gate,
        },
    )


def hardware(found: tuple[DeviceFacts, ...]) -> StartLine:
    told = [
        f"{one.name}, {_gib(one.free)} of {_gib(one.memory)} free"
        + (f", driver {one.driver}" if one.driver else "")
        for one in found
    ]
    return StartLine(
        f"devices: {'; '.join(told)}",
        {"devices": [asdict(one) for one in found]},
    )


def models(found: tuple[OperatorModel, ...]) -> StartLine:
    told = [_named(one) for one in found[:_MOST_NAMED]]
    if len(found) > _MOST_NAMED:
        told.append(f"and {len(found) - _MOST_NAMED} more")
    return StartLine(
        f"your models: {', '.join(told) or 'none'}",
        {
            "models": [one.name for one in found],
            "pinned": [one.name for one in found if one.pinned],
            "preloaded": [one.name for one in found if one.preload],
        },
    )


def cache(settings: Settings) -> StartLine:
    folder, most = settings.hf_hub_cache, settings.disk_budget
    disk = shutil.disk_usage(existing(folder))
    budget = "" if most is None else f", models may take {_gib(most)}"
    return StartLine(
        f"cache: {folder}, {_gib(disk.free)} of {_gib(disk.total)} free{budget}",
        {"cache": str(folder), "disk": disk.total, "free": disk.free, "disk_budget": most},
    )


def callers(settings: Settings) -> StartLine:
    keys, more = len(settings.api_keys), settings.api_keys_file is not None
    here = is_loopback(settings.host)
    if settings.platform is Platform.QUEUE:
        known = f"{settings.platform}, which knows its callers"
    elif keys or more:
        own = {0: "", 1: "the API key"}.get(keys, f"one of {keys} API keys")
        known = f"with {' or '.join(filter(None, [own, 'a key of API_KEYS_FILE' * more]))}"
    elif settings.platform is Platform.LOAD_BALANCER:
        known = f"{settings.platform}, which knows its callers"
    elif here:
        known = "this machine, without keys"
    else:
        known = "anybody, without keys (API_KEYS)"
    admin = settings.admin_api_key is not None
    operator = "with ADMIN_API_KEY" if admin else "on this machine" if here else "nobody"
    if settings.platform is Platform.QUEUE or ((keys or more) and not admin):
        operator = "nobody"  # see `HttpServer`
    if operator == "nobody" and settings.platform is not Platform.QUEUE:
        operator = "nobody (ADMIN_API_KEY is not set)"
    return StartLine(
        f"callers: {known}; operator: {operator}",
        {
            "platform": settings.platform.value,
            "api_keys": keys,
            "api_keys_file": more,
            "loopback": here,
            "admin_api_key": admin,
            "hf_token": settings.hf_token is not None,
        },
        logging.WARNING if known.startswith("anybody") else logging.INFO,
    )


def limits(settings: Settings) -> StartLine:
    loaded = settings.max_loaded_models
    most = "as many models as fit" if loaded is None else f"at most {loaded} models loaded"
    return StartLine(
        f"limits: {most}, {settings.max_concurrency} requests in a model at once, "
        f"{settings.max_queue} waiting, {settings.queue_timeout:g} s to the first byte, "
        f"{settings.request_timeout:g} s in all, bodies of {settings.max_body_bytes >> 20} MiB",
        {
            name: getattr(settings, name)
            for name in (
                "max_loaded_models",
                "max_concurrency",
                "max_queue",
                "max_queue_per_caller",
                "max_concurrency_per_caller",
                "queue_timeout",
                "request_timeout",
                "max_body_bytes",
                "max_downloads",
            )
        },
    )


def _named(model: OperatorModel) -> str:
    what = [
        name
        for name, is_so in (("pinned", model.pinned), ("to be preloaded", model.preload))
        if is_so
    ]
    return f"{model.name} ({', '.join(what)})" if what else model.name


def _gib(size: int) -> str:
    return f"{size / 1024**3:.1f} GiB"
