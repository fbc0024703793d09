"""Every setting of the router, declared once. The environment is read into `Settings`.

The README's table, docs/settings.md, `.runpod/hub.json` and `--help` are generated from
here (`make docs`). To add a setting, add a field.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.config import kinds
from router.config.errors import MistakesSoFar, SettingsError
from router.config.hosts import Origin
from router.config.patterns import Patterns
from router.config.platform import Platform, detect, platform_keys
from router.config.setting import declared, setting
from router.secrets import Secret, Token

__all__ = ["SETTINGS", "Platform", "Settings", "SettingsError"]

_QUEUE, _BALANCER, _PLAIN = Platform


def _hf_home(above: Mapping[str, Any]) -> Path:
    volume: Path = above["base_path"]
    # Skip a volume that RunPod mounts read-only, for its cached models.
    writable = os.access(volume, os.W_OK)
    local: Path = above["local_cache"]
    return volume / "huggingface-cache" if writable else local


def _hf_hub_cache(above: Mapping[str, Any]) -> Path:
    home: Path = above["hf_home"]
    return home / "hub"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting. Times are in seconds, sizes in bytes; secrets do not print."""

    platform: Platform
    platform_keys: tuple[Secret, ...]  # RunPod's own, for redaction
    local_cache: Path  # where the Hub's client keeps its files by default

    model_name: str | None = setting(
        kinds.TEXT,
        "The default model: org/name[@revision] or a local path. It serves requests that name "
        "no model, and starts before the first job.",
        section="Models and tokens",
        label="Default Model",
        unset="every request must name its model",
        aliases=("MODEL_PATH",),
        advanced=False,
        form_type="huggingface",
    )
    model_revision: str | None = setting(
        kinds.TEXT,
        "The default model's branch, tag or commit. @revision in its name wins.",
        label="Default Model's Revision",
        unset="the default branch",
    )
    served_model_names: tuple[str, ...] = setting(
        kinds.NAMES,
        "More names for the default model.",
        name="SERVED_MODEL_NAME",
        label="Default Model's Names",
        default="",
    )
    hf_token: Token | None = setting(
        kinds.TOKEN,
        "The worker's Hugging Face token, for gated and private models. Read access is enough; "
        "for a gated model, accept its license on its page first.",
        label="HuggingFace Token",
        unset="public models only, or each caller's own token",
        aliases=("HUGGING_FACE_HUB_TOKEN",),
        secret=True,
        advanced=False,
    )
    hf_token_models: Patterns | None = setting(
        kinds.PATTERNS,
        "Models, besides your own, that HF_TOKEN serves to callers without a token; "
        "`none` for none.",
        label="Token's Models",
        unset="all if callers are known (RunPod, API_KEYS, loopback), else none",
    )
    engine_hf_token: bool = setting(
        kinds.FLAG,
        "Give HF_TOKEN to the engines of your own gated and private models.",
        label="Token for Engines",
        default="true",
    )
    allowed_models: Patterns = setting(
        kinds.PATTERNS,
        "Models that requests may name, such as `Qwen/*`. `org/name` means its default "
        "revision, `org/name@*` all of them.",
        label="Allowed Models",
        default="*",
        advanced=False,
    )
    models_config: str | None = setting(
        kinds.TEXT,
        "Your models with aliases, flags, memory and more: the path of a YAML file, or the "
        "YAML itself.",
        label="Models File",
        advanced=False,
    )
    max_model_bytes: int | None = setting(
        kinds.SIZE,
        "Largest model to download.",
        label="Largest Model",
        unset="what an engine's GPUs hold once it is loaded",
    )
    disk_budget: int | None = setting(
        kinds.SIZE,
        "Disk space for downloaded models. To make room, the least recently used "
        "models that you did not name are removed.",
        label="Disk Space",
        unset="free space, less a reserve of 1 GiB or 5 %",
    )
    allow_unsafe_weights: bool = setting(
        kinds.FLAG,
        "Load weights other than safetensors. They can run code.",
        label="Unsafe Weights",
        default="false",
    )

    max_loaded_models: int | None = setting(
        kinds.COUNT,
        "Models on the GPU at a time.",
        section="Memory and engines",
        label="Loaded Models",
        unset="as many as fit",
        advanced=False,
    )
    gpu_memory_budget: int | None = setting(
        kinds.SIZE,
        "GPU memory for all engines together; with several GPUs, on each of them.",
        label="GPU Memory",
        unset="all",
        in_readme=True,
    )
    model_idle_ttl: float | None = setting(
        kinds.TTL,
        "Seconds until an idle engine expires, or off.",
        label="Idle Time",
        default="off",
    )
    swap_patience: float | None = setting(
        kinds.SECONDS,
        "Seconds that a model waits, including its own start, before an engine in use "
        "makes room for it. A larger value means fewer swaps. Idle engines make room "
        "at once.",
        label="Swap Patience",
        unset="up to 2.75 times the duration of the swap",
    )
    standby_engines: int = setting(
        kinds.PLACES,
        "Engine processes that may be started ahead of time, up to the point where "
        "they need GPU memory: for the next models in line, and then for recently "
        "used models. Each takes about 2 GB of host memory.",
        label="Standby Engines",
        default="1",
    )
    eviction: str = setting(
        kinds.one_of("cost", "lru"),
        "Which engine makes room first: `cost`: the one that is cheapest to lose, by "
        "how often it is used and how long a reload takes; `lru`: the least recently "
        "used one.",
        label="Eviction",
        default="cost",
    )
    sleep_memory: int | None = setting(
        kinds.SIZE_OR_OFF,
        "Host memory for evicted engines that sleep: they keep their weights there "
        "and wake in seconds. 0: engines do not sleep.",
        label="Sleep Memory",
        unset="the free memory at the start, less a quarter of the container's memory or 8 GiB",
    )
    engine_python: str = setting(
        kinds.TEXT,
        "Python interpreter that has SGLang installed. The log shows SGLang's version "
        "at the start.",
        label="Engine's Python",
        default="python3",
        in_readme=True,
    )
    engine_user: str = setting(
        kinds.TEXT,
        "If the worker is root, the user that engines run as: a name or a number. "
        "`root`: the same user as the worker.",
        label="Engine's User",
        default="60800",
    )

    request_timeout: float = setting(
        kinds.DEADLINE,
        "Seconds for a whole request.",
        section="Deadlines",
        label="Request Timeout",
        # Below the platform's own limits: the queue stops the whole worker at 600 s, and the
        # load balancer cuts off a request at 330 s.
        default={_QUEUE: "570", _BALANCER: "320", _PLAIN: "3600"},
    )
    queue_timeout: float = setting(
        kinds.DEADLINE,
        "Seconds from a request's arrival to the first byte of its answer.",
        label="Queue Timeout",
        default={_QUEUE: "480", _BALANCER: "300", _PLAIN: "600"},
    )
    read_timeout: float = setting(
        kinds.DEADLINE,
        "Seconds after which an answer ends if its caller does not read it.",
        label="Read Timeout",
        default="30",
    )
    engine_start_timeout: float = setting(
        kinds.DEADLINE,
        "Seconds that an engine has to become ready.",
        label="Engine Start Timeout",
        default="600",
    )
    stall_timeout: float = setting(
        kinds.DEADLINE,
        "Seconds of silence after which a busy engine counts as dead.",
        label="Stall Timeout",
        default="120",
    )
    drain_timeout: float = setting(
        kinds.SECONDS,
        "Seconds that requests have to finish when the worker shuts down.",
        label="Drain Timeout",
        default="30",
    )
    fetch_linger: float = setting(
        kinds.SECONDS,
        "Seconds that a download or start continues after its last caller has left, "
        "unless others need its place.",
        label="Download Linger",
        default="60",
    )
    public_grace: float = setting(
        kinds.SECONDS,
        "Seconds that a public model is served while the Hub can't be reached.",
        label="Public Grace",
        default="86400",
    )

    max_queue: int = setting(
        kinds.COUNT,
        "Requests that may wait.",
        section="Limits",
        label="Queue Length",
        default="256",
    )
    max_concurrency: int = setting(
        kinds.COUNT, "Requests in flight per engine.", label="Concurrency", default="64"
    )
    max_downloads: int = setting(
        kinds.COUNT,
        "Downloads at once. Other downloads wait; callers with fewer downloads come first.",
        label="Downloads at Once",
        default="2",
    )
    max_body_bytes: int = setting(
        kinds.SIZE, "Largest request body over HTTP.", label="Largest Body", default="32MiB"
    )
    media_domains: frozenset[str] = setting(
        kinds.HOSTS,
        "Hosts that image URLs in requests may name.",
        label="Media Domains",
        default="",
        unset="none, so data: URLs only",
    )
    contested_start_timeout: float | None = setting(
        kinds.DEADLINE,
        "Seconds that the start of a model that you did not name may take while another caller "
        "waits for a start.",
        section="Callers that share a worker",
        label="Contested Start Timeout",
        unset="120, plus 1 for each 100 MB of the model",
    )
    max_queue_per_caller: int | None = setting(
        kinds.COUNT,
        "Requests of one caller (by API key, else by accepted token) that may wait.",
        label="Queue Places per Caller",
        unset="all places, shared while others need some",
    )
    max_concurrency_per_caller: int | None = setting(
        kinds.COUNT,
        "Requests of one caller in flight per engine.",
        label="Concurrency per Caller",
        unset="all places, shared while others wait",
    )
    max_starts_per_caller: int | None = setting(
        kinds.COUNT,
        "Cold starts per minute for one caller.",
        label="Cold Starts per Caller",
        unset="any number",
    )
    max_models_per_caller: int | None = setting(
        kinds.COUNT,
        "Models that may be loaded for one caller alone. For another one, the caller "
        "loses its least recently used idle model.",
        label="Models per Caller",
        unset="any number",
    )
    max_download_per_caller: int | None = setting(
        kinds.SIZE,
        "Bytes downloaded per hour for one caller.",
        label="Download per Caller",
        unset="any amount",
    )
    hub_requests: int = setting(
        kinds.COUNT,
        "Requests that the Hub allows this machine in five minutes without a token; "
        "it allows an account twice as many. New names use at most half of them, and "
        "one caller at most half of those.",
        label="Hub Requests",
        default="500",
    )
    private_idle_ttl: float | None = setting(
        kinds.TTL,
        "Seconds after its last use until a private model that you did not name is "
        "unloaded; off: like any other model.",
        label="Private Models' Idle Time",
        default="3600",
    )
    remove_private_files: bool = setting(
        kinds.FLAG,
        "Remove such a model's files from the disk as well.",
        label="Remove Private Files",
        default="false",
    )
    strict_cache_isolation: bool = setting(
        kinds.FLAG,
        "Refuse routes, and turn off prefix caches, if callers of one model could "
        "time each other's prompts.",
        label="Strict Cache Isolation",
        default="false",
    )

    host: str = setting(
        kinds.TEXT,
        "Address of the HTTP server.",
        section="HTTP",
        label="Host",
        default={_QUEUE: "127.0.0.1", _BALANCER: "0.0.0.0", _PLAIN: "127.0.0.1"},  # noqa: S104 - the balancer comes from outside
        in_readme=True,
    )
    port: int = setting(
        kinds.PORT,
        "Port of the HTTP server.",
        label="Port",
        default={_QUEUE: "8000", _BALANCER: "80", _PLAIN: "8000"},
        in_readme=True,
    )
    port_health: int | None = setting(
        kinds.PORT, "Port of /ping.", label="Health Port", unset="the same port"
    )
    api_keys: tuple[Secret, ...] = setting(
        kinds.KEYS,
        "Keys for callers of the HTTP server. If set, each caller needs one.",
        label="API Keys",
        default="",
        unset="callers need no key",
        secret=True,
        in_readme=True,
    )
    api_keys_file: Path | None = setting(
        kinds.PATH,
        "YAML file with more keys, each with a name, models and rates.",
        label="Keys File",
    )
    admin_api_key: Secret | None = setting(
        kinds.KEY,
        "The operator's own key, for the routes under /admin/, which show all models "
        "and callers, and unload models. It must differ from all callers' keys.",
        label="Operator's Key",
        unset="if HOST is loopback and callers need no keys, these routes are only for "
        "this machine; otherwise they do not exist",
        secret=True,
    )

    allowed_hosts: frozenset[str] = setting(
        kinds.OWN_HOSTS,
        "Hosts that requests may name, besides loopback: names, `*.name`, or `*` for any.",
        label="Allowed Hosts",
        default="",
        unset="none if the server listens on loopback, otherwise any",
    )
    cors_origins: frozenset[Origin | str] = setting(
        kinds.ORIGINS,
        "Origins of web pages that may call the server, such as "
        "`https://app.example.org`, or `*` for all if callers need a key.",
        label="CORS Origins",
        default="",
        unset="only the server's own",
    )

    log_level: str = setting(
        kinds.one_of("DEBUG", "INFO", "WARNING", "ERROR"),
        "The router's own log.",
        section="Logs",
        label="Log Level",
        default="INFO",
    )
    log_format: str = setting(
        kinds.one_of("text", "json"), "The log's format.", label="Log Format", default="text"
    )
    pool_journal: Path | None = setting(
        kinds.PATH,
        "File in which the pool's events are recorded, for `model-router replay`.",
        label="Pool Journal",
    )

    hf_endpoint: str = setting(
        kinds.URL,
        "The Hugging Face Hub or a mirror of it.",
        section="Hub and disk",
        label="Hub",
        default="https://huggingface.co",
    )
    hf_hub_offline: bool = setting(
        kinds.FLAG,
        "Never ask the Hub: serve your models from the disk, and models that were "
        "seen to be public within PUBLIC_GRACE.",
        label="Offline",
        default="false",
        aliases=("TRANSFORMERS_OFFLINE",),
    )
    baked_models: Path = setting(
        kinds.PATH,
        "Models in the image, as `model-router prefetch` puts them there.",
        label="Models in the Image",
        default="/models",
    )
    base_path: Path = setting(
        kinds.PATH,
        "Where RunPod mounts a network volume.",
        label="Volume",
        default="/runpod-volume",
    )
    hf_home: Path = setting(
        kinds.PATH,
        "The Hub client's directory.",
        label="Hub Directory",
        unset="huggingface-cache on the volume, else ~/.cache/huggingface",
        otherwise=_hf_home,
    )
    hf_hub_cache: Path = setting(
        kinds.PATH,
        "Directory for downloads.",
        label="Downloads",
        unset="hub in HF_HOME",
        otherwise=_hf_hub_cache,
        aliases=("HUGGINGFACE_HUB_CACHE",),
    )
    ssl_cert_file: Path | None = setting(
        kinds.PATH,
        "File with the certificate authorities to trust.",
        label="Certificate Authorities",
        unset="the system's",
        # A deployment sets every variable. OpenSSL takes an empty one to mean no authorities.
        form_default="/etc/ssl/certs/ca-certificates.crt",
    )

    @property
    def hub_caches(self) -> tuple[Path, ...]:
        """The caches that may already have a model, in order of preference."""
        volume = self.base_path / "huggingface-cache/hub"
        caches = (self.baked_models, volume, self.hf_hub_cache, self.local_cache / "hub")
        return tuple(dict.fromkeys(caches))

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """All values that must never be logged."""
        own = (self.hf_token, self.admin_api_key)
        return (*filter(None, own), *self.api_keys, *self.platform_keys)

    @classmethod
    def from_environ(
        cls, environ: Mapping[str, str], platform: Platform | None = None
    ) -> Settings:
        """Read all variables. Raises one `SettingsError` with all mistakes.

        `platform` overrides the detected one: if a command serves HTTP in a queue worker's
        container, nothing in front of it authenticates callers.
        """
        platform = platform or detect(environ)
        home = Path(environ.get("HOME") or Path.home())
        cache = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
        values: dict[str, Any] = {"local_cache": cache / "huggingface"}
        mistakes = MistakesSoFar()
        for one in SETTINGS.values():
            value = None
            with mistakes.collecting():
                value = one.read(environ, platform)
            if value is None and one.otherwise is not None:
                value = one.otherwise(values)
            values[one.attribute] = _absolute(value, home) if isinstance(value, Path) else value
        mistakes.raise_any()
        _check_together(values, platform)
        if values["port_health"] == values["port"]:
            values["port_health"] = None
        return cls(platform=platform, platform_keys=platform_keys(environ), **values)


def _check_together(values: Mapping[str, Any], platform: Platform) -> None:
    """Raise `SettingsError` for settings that contradict each other."""
    mistakes = MistakesSoFar()
    with mistakes.collecting():
        if values["remove_private_files"] and values["private_idle_ttl"] is None:
            raise SettingsError("REMOVE_PRIVATE_FILES", "true", "off while PRIVATE_IDLE_TTL is")
    with mistakes.collecting():
        known = values["api_keys"] or values["api_keys_file"] or platform is not _PLAIN
        if "*" in values["cors_origins"] and not known:
            allowed = "a list of origins, unless API_KEYS is set"
            raise SettingsError("CORS_ORIGINS", "*", allowed)
    with mistakes.collecting():
        if values["admin_api_key"] in values["api_keys"]:
            raise SettingsError("ADMIN_API_KEY", "***", "a key that is not in API_KEYS")
    mistakes.raise_any()


SETTINGS = declared(Settings)


def _absolute(path: Path, home: Path) -> Path:
    return home / path.relative_to("~") if path.parts[:1] == ("~",) else path
