"""The environment, read once into values. `VARIABLES` lists all that is read."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from router.config.environ import (
    Environ,
    SettingsError,
    Variable,
    as_count,
    as_deadline,
    as_flag,
    as_names,
    as_port,
    as_seconds,
    as_size,
    as_token,
    as_ttl,
    one_of,
)
from router.config.patterns import Patterns
from router.secrets import Secret, Token

__all__ = ["VARIABLES", "Platform", "Settings", "SettingsError"]


class Platform(StrEnum):
    """Where the worker runs, which decides the deadlines and whether callers are known."""

    QUEUE = "RunPod's queue"
    LOAD_BALANCER = "RunPod's load balancer"
    PLAIN = "plain HTTP"


_TABLE = (
    Variable(
        "MODEL_NAME", "default model: org/name[@revision] or a local path", also="MODEL_PATH"
    ),
    Variable("MODEL_REVISION", "the default model's revision; @revision in the name wins"),
    Variable("SERVED_MODEL_NAME", "further names for the default model, comma-separated"),
    Variable("HF_TOKEN", "the worker's Hub token", also="HUGGING_FACE_HUB_TOKEN", secret=True),
    Variable("HF_TOKEN_MODELS", "models HF_TOKEN serves beyond the operator's own; none: none"),
    Variable("ALLOWED_MODELS", "models that may be asked for, comma-separated patterns", "*"),
    Variable("MODELS_CONFIG", "the operator's models: path of a YAML file, or the YAML"),
    Variable("MAX_LOADED_MODELS", "engines at a time; unset: 1, or all that have `memory`"),
    Variable("GPU_MEMORY_BUDGET", "memory for engines, such as 20GiB; unset: all"),
    Variable("MODEL_IDLE_TTL", "seconds until an idle engine expires", "off"),
    Variable("MIN_RESIDENCY", "seconds a fresh engine is safe from eviction", "15"),
    Variable("REQUEST_TIMEOUT", "seconds for a request; unset: by platform (570, 320, 3600)"),
    Variable("QUEUE_TIMEOUT", "seconds to the first byte; unset: by platform (480, 300, 600)"),
    Variable("STALL_TIMEOUT", "seconds of silence after which an engine is dead", "120"),
    Variable("MAX_QUEUE", "requests that may wait", "256"),
    Variable("MAX_CONCURRENCY", "requests in flight per engine", "64"),
    Variable("MAX_QUEUE_PER_CALLER", "of MAX_QUEUE, places for one caller; unset: all"),
    Variable("MAX_STARTS_PER_CALLER", "cold starts a minute for one caller; unset: any"),
    Variable("MAX_MODELS_PER_CALLER", "engines up for one caller alone; unset: any"),
    Variable("MAX_DOWNLOAD_PER_CALLER", "download an hour for one caller, such as 200GiB"),
    Variable("MAX_BODY_BYTES", "largest request body over HTTP", "32MiB"),
    Variable("DRAIN_TIMEOUT", "seconds for requests to end at shutdown", "30"),
    Variable("ENGINE_PYTHON", "interpreter that has SGLang", "python3"),
    Variable("ENGINE_ARGS", "further SGLang flags for every engine"),
    Variable("ENGINE_HF_TOKEN", "give HF_TOKEN to the operator's gated engines", "true"),
    Variable("ENGINE_START_TIMEOUT", "seconds an engine has to become ready", "600"),
    Variable("MEDIA_DOMAINS", "hosts that image URLs may name, comma-separated"),
    Variable("MAX_MODEL_BYTES", "largest model to download; unset: the GPU's memory"),
    Variable("ALLOW_UNSAFE_WEIGHTS", "load weights other than safetensors", "false"),
    Variable("PRIVATE_IDLE_TTL", "seconds until a caller's private model is unloaded", "3600"),
    Variable("REMOVE_PRIVATE_FILES", "and its files are removed from the disk", "false"),
    Variable("STRICT_CACHE_ISOLATION", "no prefix cache that callers would share", "false"),
    Variable("PUBLIC_GRACE", "seconds a public model is served without the Hub", "86400"),
    Variable("FETCH_LINGER", "seconds a download outlives its last waiter", "60"),
    Variable("HOST", "address to listen on; unset: 127.0.0.1, or all behind the balancer"),
    Variable("PORT", "port to listen on; unset: 8000, or 80 behind the balancer"),
    Variable("PORT_HEALTH", "port of /ping, where it is not PORT"),
    Variable("API_KEYS", "keys that HTTP callers need, comma-separated", secret=True),
    Variable("LOG_LEVEL", "DEBUG, INFO, WARNING or ERROR", "INFO"),
    Variable("LOG_FORMAT", "text or json", "text"),
    Variable("POOL_JOURNAL", "file that the pool's events are recorded in, for a replay"),
    Variable("HF_ENDPOINT", "the Hub", "https://huggingface.co"),
    Variable("BAKED_MODELS", "models in the image, as `prefetch` puts them", "/models"),
    Variable("BASE_PATH", "where RunPod mounts a network volume", "/runpod-volume"),
    Variable(
        "HF_HOME", "Hub client's; unset: volume's huggingface-cache, ~/.cache/huggingface"
    ),
    Variable("HF_HUB_CACHE", "downloads; unset: HF_HOME/hub", also="HUGGINGFACE_HUB_CACHE"),
    Variable("SSL_CERT_FILE", "further certificate authorities"),
)
VARIABLES: Mapping[str, Variable] = {variable.name: variable for variable in _TABLE}

# What RunPod sets, not the operator.
_PLATFORM = {
    name: Variable(name, "")
    for name in ("RUNPOD_WEBHOOK_GET_JOB", "RUNPOD_ENDPOINT_ID", "RUNPOD_POD_ID")
} | {name: Variable(name, "", secret=True) for name in ("RUNPOD_API_KEY", "RUNPOD_AI_API_KEY")}

# (REQUEST_TIMEOUT, QUEUE_TIMEOUT), below the platform's own limits: the queue stops the
# whole worker at 600 s, the load balancer cuts a request off at 330 s.
_DEADLINES = {
    Platform.QUEUE: (570.0, 480.0),
    Platform.LOAD_BALANCER: (320.0, 300.0),
    Platform.PLAIN: (3600.0, 600.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting. Times are in seconds, sizes in bytes; secrets do not print."""

    platform: Platform
    model_name: str | None
    model_revision: str | None
    served_model_names: tuple[str, ...]
    models_config: str | None
    allowed_models: Patterns
    hf_token: Token | None
    hf_token_models: Patterns | None  # None: by who the callers are
    max_loaded_models: int | None
    gpu_memory_budget: int | None
    model_idle_ttl: float | None  # None: never
    min_residency: float
    request_timeout: float
    queue_timeout: float
    stall_timeout: float
    max_queue: int
    max_concurrency: int
    max_queue_per_caller: int | None  # None: no limit of its own; so the next three
    max_starts_per_caller: int | None
    max_models_per_caller: int | None
    max_download_per_caller: int | None
    max_body_bytes: int
    drain_timeout: float
    engine_python: str
    engine_hf_token: bool
    engine_start_timeout: float
    media_domains: frozenset[str]
    max_model_bytes: int | None
    allow_unsafe_weights: bool
    private_idle_ttl: float | None  # None: as any other model
    remove_private_files: bool
    strict_cache_isolation: bool
    public_grace: float
    fetch_linger: float
    host: str
    port: int
    port_health: int | None  # None: /ping is on `port`
    api_keys: tuple[Secret, ...]
    log_level: str
    log_format: str
    pool_journal: Path | None
    hf_endpoint: str  # without a trailing slash
    hf_home: Path
    hf_hub_cache: Path  # where downloads go
    hub_caches: tuple[Path, ...]  # where a model may lie already, in this order
    ssl_cert_file: Path | None
    platform_keys: tuple[Secret, ...]  # RunPod's own, for redaction

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """All that must never be logged."""
        token = () if self.hf_token is None else (self.hf_token,)
        return (*token, *self.api_keys, *self.platform_keys)

    @classmethod
    def from_environ(
        cls, environ: Mapping[str, str], platform: Platform | None = None
    ) -> Settings:
        """Read all variables. Raises `SettingsError` for the first that can't be used.

        `platform` overrides what the environment suggests: a command that serves HTTP in
        a queue worker's container has nobody in front who knows the callers.
        """
        read = Environ(environ, VARIABLES)
        runpod = Environ(environ, _PLATFORM)
        platform = platform or _detect(runpod, read)
        balanced = platform is Platform.LOAD_BALANCER
        request_timeout, queue_timeout = _DEADLINES[platform]
        port = read.value("PORT", as_port, 80 if balanced else 8000)
        port_health = read.optional("PORT_HEALTH", as_port)
        home = Path(environ.get("HOME") or Path.home())
        cache = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
        local = cache / "huggingface"
        volume = read.value("BASE_PATH", Path) / "huggingface-cache"
        hf_home = _path(read.text("HF_HOME"), home) or (
            # Not one that is mounted for RunPod's cached models alone, read-only.
            volume if os.access(volume.parent, os.W_OK) else local
        )
        hub_cache = _path(read.text("HF_HUB_CACHE"), home) or hf_home / "hub"
        baked = read.value("BAKED_MODELS", Path)
        private_idle_ttl = read.optional("PRIVATE_IDLE_TTL", as_ttl)
        remove_private_files = read.value("REMOVE_PRIVATE_FILES", as_flag)
        if remove_private_files and private_idle_ttl is None:
            raise SettingsError("REMOVE_PRIVATE_FILES", "true", "off while PRIVATE_IDLE_TTL is")
        return cls(
            platform=platform,
            model_name=read.text("MODEL_NAME"),
            model_revision=read.text("MODEL_REVISION"),
            served_model_names=read.value("SERVED_MODEL_NAME", as_names, ()),
            models_config=read.text("MODELS_CONFIG"),
            allowed_models=read.value("ALLOWED_MODELS", Patterns.parse),
            hf_token=read.optional("HF_TOKEN", as_token),
            hf_token_models=read.optional("HF_TOKEN_MODELS", Patterns.parse),
            max_loaded_models=read.optional("MAX_LOADED_MODELS", as_count),
            gpu_memory_budget=read.optional("GPU_MEMORY_BUDGET", as_size),
            model_idle_ttl=read.optional("MODEL_IDLE_TTL", as_ttl),
            min_residency=read.value("MIN_RESIDENCY", as_seconds),
            request_timeout=read.value("REQUEST_TIMEOUT", as_deadline, request_timeout),
            queue_timeout=read.value("QUEUE_TIMEOUT", as_deadline, queue_timeout),
            stall_timeout=read.value("STALL_TIMEOUT", as_deadline),
            max_queue=read.value("MAX_QUEUE", as_count),
            max_concurrency=read.value("MAX_CONCURRENCY", as_count),
            max_queue_per_caller=read.optional("MAX_QUEUE_PER_CALLER", as_count),
            max_starts_per_caller=read.optional("MAX_STARTS_PER_CALLER", as_count),
            max_models_per_caller=read.optional("MAX_MODELS_PER_CALLER", as_count),
            max_download_per_caller=read.optional("MAX_DOWNLOAD_PER_CALLER", as_size),
            max_body_bytes=read.value("MAX_BODY_BYTES", as_size),
            drain_timeout=read.value("DRAIN_TIMEOUT", as_seconds),
            engine_python=read.value("ENGINE_PYTHON", str),
            engine_hf_token=read.value("ENGINE_HF_TOKEN", as_flag),
            engine_start_timeout=read.value("ENGINE_START_TIMEOUT", as_deadline),
            media_domains=read.value("MEDIA_DOMAINS", _domains, frozenset()),
            max_model_bytes=read.optional("MAX_MODEL_BYTES", as_size),
            allow_unsafe_weights=read.value("ALLOW_UNSAFE_WEIGHTS", as_flag),
            private_idle_ttl=private_idle_ttl,
            remove_private_files=remove_private_files,
            strict_cache_isolation=read.value("STRICT_CACHE_ISOLATION", as_flag),
            public_grace=read.value("PUBLIC_GRACE", as_seconds),
            fetch_linger=read.value("FETCH_LINGER", as_seconds),
            host=read.value("HOST", str, "0.0.0.0" if balanced else "127.0.0.1"),  # noqa: S104 - the balancer comes from outside
            port=port,
            port_health=None if port_health == port else port_health,
            api_keys=read.value("API_KEYS", _keys, ()),
            log_level=read.value("LOG_LEVEL", one_of("DEBUG", "INFO", "WARNING", "ERROR")),
            log_format=read.value("LOG_FORMAT", one_of("text", "json")),
            pool_journal=_path(read.text("POOL_JOURNAL"), home),
            hf_endpoint=read.value("HF_ENDPOINT", _origin),
            hf_home=hf_home,
            hf_hub_cache=hub_cache,
            hub_caches=tuple(dict.fromkeys((baked, volume / "hub", hub_cache, local / "hub"))),
            ssl_cert_file=_path(read.text("SSL_CERT_FILE"), home),
            platform_keys=_platform_keys(runpod),
        )


def _detect(runpod: Environ, read: Environ) -> Platform:
    """A queue worker is told where to take jobs. A load-balanced one is not, but has an
    endpoint and the ports that RunPod sets for it. Anything less certain is PLAIN, which
    trusts nobody: a Pod has a RUNPOD_POD_ID too, and no one in front of it.
    """
    if runpod.text("RUNPOD_WEBHOOK_GET_JOB"):
        return Platform.QUEUE
    worker = runpod.text("RUNPOD_ENDPOINT_ID") and runpod.text("RUNPOD_POD_ID")
    if worker and (read.text("PORT") or read.text("PORT_HEALTH")):
        return Platform.LOAD_BALANCER
    return Platform.PLAIN


def _platform_keys(runpod: Environ) -> tuple[Secret, ...]:
    keys = (runpod.optional(name, Secret) for name in ("RUNPOD_API_KEY", "RUNPOD_AI_API_KEY"))
    return tuple(key for key in keys if key is not None)


def _path(text: str | None, home: Path) -> Path | None:
    if text is None:
        return None
    return home / text[2:] if text.startswith("~/") else Path(text)


def _keys(text: str) -> tuple[Secret, ...]:
    # Shorter ones would be guessed, and would blank common words out of the log.
    keys = as_names(text)
    if not all(re.fullmatch(r"[!-~]{8,512}", key) for key in keys):
        raise ValueError("comma-separated keys of 8 or more ASCII characters, without spaces")
    return tuple(map(Secret, keys))


def _domains(text: str) -> frozenset[str]:
    names = frozenset(name.lower() for name in as_names(text))
    if not all(re.fullmatch(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?", name) for name in names):
        raise ValueError("comma-separated host names, such as images.example.org")
    return names


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
        raise ValueError("a URL, https://host or http://host")
    return text.rstrip("/")
