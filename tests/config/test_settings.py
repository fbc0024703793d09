from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.config.kinds import FLAG, SIZE
from router.config.parsers import as_size, as_ttl
from router.config.settings import SETTINGS, Platform, Settings, SettingsError
from router.models import ModelRef

QUEUE = {"RUNPOD_WEBHOOK_GET_JOB": "https://runpod.test/take/$ID", "RUNPOD_POD_ID": "w1"}
BALANCER = {"RUNPOD_ENDPOINT_ID": "e1", "RUNPOD_POD_ID": "w1", "PORT": "80"}
POD = {"RUNPOD_POD_ID": "p1", "PORT": "80"}


TRUE_AND_FALSE = [
    *((text, True) for text in ("true", "True", "1", "yes", "YES", "on", "On")),
    *((text, False) for text in ("false", "FALSE", "0", "no", "No", "off", "OFF")),
]
NAMES = [name for one in SETTINGS.values() for name in one.names]


class Recorder(Mapping[str, str]):
    def __init__(self) -> None:
        self.asked: set[str] = set()

    def __getitem__(self, key: str) -> str:
        self.asked.add(key)
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    settings = Settings.from_environ({"HOME": "/home/me", "BASE_PATH": "/nonexistent"})
    assert settings.platform is Platform.PLAIN
    assert (settings.host, settings.port, settings.port_health) == ("127.0.0.1", 8000, None)
    assert (settings.request_timeout, settings.queue_timeout) == (3600, 600)
    assert (settings.stall_timeout, settings.swap_patience) == (120, None)
    assert (settings.max_queue, settings.max_concurrency) == (256, 64)
    assert settings.model_idle_ttl is None
    assert settings.max_loaded_models is None
    assert (settings.public_grace, settings.fetch_linger) == (86400, 60)
    assert (settings.engine_start_timeout, settings.drain_timeout) == (600, 30)
    assert settings.allowed_models.allow(ModelRef("any/model", "refs/pr/1"))
    assert settings.hf_token is None
    assert settings.engine_hf_token
    assert not settings.allow_unsafe_weights
    assert (settings.log_level, settings.log_format) == ("INFO", "text")
    assert settings.hf_endpoint == "https://huggingface.co"
    assert settings.hf_hub_cache == Path("/home/me/.cache/huggingface/hub")


def test_models_are_looked_for_in_the_image_then_on_the_volume_then_on_the_disk(
    tmp_path: Path,
) -> None:
    home = {"HOME": "/home/me"}
    volume = tmp_path / "huggingface-cache" / "hub"
    disk = Path("/home/me/.cache/huggingface/hub")
    mounted = Settings.from_environ({**home, "BASE_PATH": str(tmp_path)})
    assert mounted.hf_hub_cache == volume
    assert mounted.hub_caches == (Path("/models"), volume, disk)
    missing = Settings.from_environ({**home, "BASE_PATH": str(tmp_path / "none")})
    assert missing.hf_hub_cache == disk
    chosen = Settings.from_environ(
        {**home, "BASE_PATH": str(tmp_path), "HF_HOME": "/disk", "BAKED_MODELS": "/baked"}
    )
    assert chosen.hf_hub_cache == Path("/disk/hub")
    assert chosen.hub_caches == (Path("/baked"), volume, Path("/disk/hub"), disk)


def test_empty_and_blank_values_count_as_unset() -> None:
    # A deployment from the Hub listing sends every variable, most of them empty.
    empty = dict.fromkeys(NAMES, "") | {"MAX_QUEUE": "  ", "HOME": "/home/me"}
    assert Settings.from_environ(empty) == Settings.from_environ({"HOME": "/home/me"})


def test_every_variable_that_is_read_is_declared_once_and_the_other_way_round() -> None:
    recorder = Recorder()
    Settings.from_environ(recorder)
    system = {"HOME", "XDG_CACHE_HOME"}
    read = {key for key in recorder.asked - system if not key.startswith("RUNPOD_")}
    assert read == set(NAMES)
    assert len(NAMES) == len(set(NAMES))


@pytest.mark.parametrize("platform", Platform)
def test_a_written_out_default_means_the_same_as_none(platform: Platform) -> None:
    written = {one.name: one.text({}, platform) or "" for one in SETTINGS.values()}
    assert Settings.from_environ(written, platform) == Settings.from_environ({}, platform)


@pytest.mark.parametrize("name", [one.name for one in SETTINGS.values() if one.kind is FLAG])
def test_every_boolean_takes_the_same_words(name: str) -> None:
    for text, value in TRUE_AND_FALSE:
        settings = Settings.from_environ({name: text})
        assert getattr(settings, SETTINGS[name].attribute) is value
    with pytest.raises(SettingsError, match=f"{name}='enabled': must be true or false"):
        Settings.from_environ({name: "enabled"})


@pytest.mark.parametrize(
    ("environ", "platform", "request_timeout", "queue_timeout"),
    [
        (QUEUE, Platform.QUEUE, 570, 480),
        (QUEUE | BALANCER, Platform.QUEUE, 570, 480),
        (BALANCER, Platform.LOAD_BALANCER, 320, 300),
        (POD, Platform.PLAIN, 3600, 600),
        ({"RUNPOD_ENDPOINT_ID": "e1", "PORT": "80"}, Platform.PLAIN, 3600, 600),
    ],
)
def test_the_platform_shows_in_its_variables_and_sets_the_deadlines(
    environ: dict[str, str], platform: Platform, request_timeout: int, queue_timeout: int
) -> None:
    settings = Settings.from_environ(environ)
    assert settings.platform is platform
    assert settings.request_timeout == request_timeout
    assert settings.queue_timeout == queue_timeout


def test_deadlines_that_are_set_win_over_the_platforms() -> None:
    chosen = {"REQUEST_TIMEOUT": "100", "QUEUE_TIMEOUT": "50.5"}
    settings = Settings.from_environ(QUEUE | chosen)
    assert (settings.request_timeout, settings.queue_timeout) == (100, 50.5)


def test_a_command_may_overrule_the_platform() -> None:
    settings = Settings.from_environ(QUEUE, platform=Platform.PLAIN)
    assert settings.platform is Platform.PLAIN
    assert settings.request_timeout == 3600


def test_behind_the_balancer_all_interfaces_are_served_on_its_port() -> None:
    environ = {k: v for k, v in BALANCER.items() if k != "PORT"} | {"PORT_HEALTH": "8081"}
    settings = Settings.from_environ(environ)
    assert (settings.host, settings.port, settings.port_health) == ("0.0.0.0", 80, 8081)
    same = Settings.from_environ(BALANCER | {"PORT": "9000", "PORT_HEALTH": "9000"})
    assert (same.port, same.port_health) == (9000, None)


def test_values_are_read() -> None:
    settings = Settings.from_environ(
        {
            "MODEL_PATH": "org/name",
            "SERVED_MODEL_NAME": "small, gpt-4o ,",
            "GPU_MEMORY_BUDGET": "20GiB",
            "MODEL_IDLE_TTL": "300",
            "ENGINE_HF_TOKEN": "0",
            "MEDIA_DOMAINS": "Images.Example.org",
            "LOG_LEVEL": "debug",
            "LOG_FORMAT": "JSON",
            "HF_ENDPOINT": "http://127.0.0.1:1234/",
            "HF_HOME": "~/hub",
            "HOME": "/home/me",
            "SSL_CERT_FILE": "/etc/ca.pem",
        }
    )
    assert settings.model_name == "org/name"
    assert settings.served_model_names == ("small", "gpt-4o")
    assert settings.gpu_memory_budget == 20 * 2**30
    assert settings.model_idle_ttl == 300
    assert not settings.engine_hf_token
    assert settings.media_domains == {"images.example.org"}
    assert (settings.log_level, settings.log_format) == ("DEBUG", "json")
    assert settings.hf_endpoint == "http://127.0.0.1:1234"
    assert (settings.hf_home, settings.hf_hub_cache) == (
        Path("/home/me/hub"),
        Path("/home/me/hub/hub"),
    )
    assert settings.ssl_cert_file == Path("/etc/ca.pem")


def test_the_older_spelling_counts_where_the_newer_is_unset() -> None:
    newer, older = ("hf_" + secrets.token_hex(16) for _ in range(2))
    for name, expected in (("", older), (newer, newer)):
        settings = Settings.from_environ({"HF_TOKEN": name, "HUGGING_FACE_HUB_TOKEN": older})
        assert settings.hf_token is not None
        assert settings.hf_token.reveal() == expected


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("MAX_QUEUE", "lots", "whole number"),
        ("MAX_QUEUE", "0", "1 or more"),
        ("MAX_CONCURRENCY", "-1", "1 or more"),
        ("REQUEST_TIMEOUT", "0", "above 0"),
        ("REQUEST_TIMEOUT", "inf", "seconds"),
        ("REQUEST_TIMEOUT", "9" * 400, "seconds"),
        ("SWAP_PATIENCE", "nan", "seconds"),
        ("MODEL_IDLE_TTL", "never mind", "`off`"),
        ("GPU_MEMORY_BUDGET", "20 elephants", "20GiB"),
        ("GPU_MEMORY_BUDGET", "0", "above 0"),
        ("PORT", "65536", "port"),
        ("ENGINE_HF_TOKEN", "maybe", "true or false"),
        ("LOG_LEVEL", "chatty", "INFO"),
        ("LOG_FORMAT", "xml", "json"),
        ("ALLOWED_MODELS", "org", "org/name"),
        ("ALLOWED_MODELS", "org/na?e", "org/name"),
        ("HF_TOKEN_MODELS", ",", "none"),
        ("HF_ENDPOINT", "huggingface.co", "URL"),
        ("HF_ENDPOINT", "http://hub:port", "URL"),
        ("HF_ENDPOINT", "http://[::1", "URL"),
        ("HF_ENDPOINT", "http://hub:0", "URL"),
        ("HF_ENDPOINT", "http://hub/#part", "URL"),
        ("MEDIA_DOMAINS", "https://x.org", "host names"),
    ],
)
def test_an_error_names_the_key_the_value_and_what_is_allowed(
    key: str, value: str, allowed: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_environ({key: value})
    assert refused.value.key == key
    assert str(refused.value).startswith(f"{key}='{value[:10]}")
    assert allowed in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    "key", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "API_KEYS", "ADMIN_API_KEY"]
)
def test_an_error_about_a_secret_does_not_repeat_it(key: str) -> None:
    secret = secrets.token_hex(16)
    with pytest.raises(SettingsError) as refused:
        Settings.from_environ({key: f"{secret} {secret}"})
    assert refused.value.key == key
    assert secret not in str(refused.value)
    assert "***" in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    "key", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "API_KEYS", "ADMIN_API_KEY"]
)
@pytest.mark.parametrize(
    ("spoil", "flaw"),
    [
        *(('"{}"', "in quotes"), ("'{}'", "in quotes")),
        *(("{{{{ RUNPOD_SECRET_{} }}}}", "unresolved"), ("Bearer {}", "begins with `Bearer `")),
    ],
)
def test_a_secret_that_was_written_wrongly_is_told_so_and_not_repeated(
    key: str, spoil: str, flaw: str
) -> None:
    secret = secrets.token_hex(16)
    with pytest.raises(SettingsError, match=f"^{key}=.*{flaw}") as refused:
        Settings.from_environ({key: spoil.format(secret)})
    assert secret not in str(refused.value)


@pytest.mark.parametrize("key", ["HF_ENDPOINT", "CORS_ORIGINS", "MEDIA_DOMAINS", "PORT"])
@pytest.mark.parametrize(
    "url",
    [
        *("https://user:{}@hub.example", "https://{}@hub.example/path", "//user:{}@hub"),
        *("user:{}@hub.example", "https://hub.example?key={}", "hub.example/?a=b&key={}"),
    ],
)
def test_a_secret_in_a_url_is_not_repeated(key: str, url: str) -> None:
    for secret in (secrets.token_hex(8), secrets.token_hex(30)):
        with pytest.raises(SettingsError) as refused:
            Settings.from_environ({key: url.format(secret)})
        assert secret not in str(refused.value)


def test_keys_in_one_pair_of_quotes_are_told_so() -> None:
    with pytest.raises(SettingsError, match="in quotes"):
        Settings.from_environ({"API_KEYS": '"first-long-key,second-long-key"'})


def test_a_token_put_into_the_wrong_variable_is_not_repeated_either() -> None:
    token = "hf_" + secrets.token_hex(16)
    with pytest.raises(SettingsError) as refused:
        Settings.from_environ({"ALLOWED_MODELS": token})
    assert token not in str(refused.value)


def test_settings_do_not_print_their_secrets() -> None:
    texts = [secrets.token_hex(16) for _ in range(6)]
    settings = Settings.from_environ(
        {
            "HF_TOKEN": texts[0],
            "ADMIN_API_KEY": texts[1],
            "API_KEYS": f"{texts[2]}, {texts[3]}",
            "RUNPOD_API_KEY": texts[4],
            "RUNPOD_AI_API_KEY": texts[5],
        }
    )
    assert [secret.reveal() for secret in settings.secrets] == texts
    assert not any(text in repr(settings) or text in str(settings) for text in texts)
    assert not any(
        text in str(getattr(settings, f.name)) for f in fields(settings) for text in texts
    )


def test_a_short_api_key_is_refused() -> None:
    with pytest.raises(SettingsError, match="8 or more"):
        Settings.from_environ({"API_KEYS": "long-enough-key,short"})


@pytest.mark.parametrize("text", ["a,key-and-another", "first-long-key,second-long-key", ","])
def test_the_operator_has_one_key(text: str) -> None:
    with pytest.raises(SettingsError, match="ADMIN_API_KEY"):
        Settings.from_environ({"ADMIN_API_KEY": text})


def test_the_operators_key_is_no_callers_key() -> None:
    key = secrets.token_hex(16)
    with pytest.raises(SettingsError, match="not in API_KEYS") as refused:
        Settings.from_environ({"ADMIN_API_KEY": key, "API_KEYS": f"another-key,{key}"})
    assert key not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(("75B", 75), ("1k", 1024), ("2KiB", 2048), ("3kb", 3000), ("20G", 20 * 2**30)),
        *(("20GB", 20 * 10**9), ("1.5 GiB", 3 * 2**29), ("1TiB", 2**40)),
    ],
)
def test_sizes_have_the_units_of_coreutils(text: str, size: int) -> None:
    assert as_size(text) == size


@pytest.mark.parametrize(
    ("text", "advice"), [("75", "75GiB"), ("0.5", "0.5GiB"), ("33554432", "33554432B")]
)
@pytest.mark.parametrize("name", [one.name for one in SETTINGS.values() if one.kind is SIZE])
def test_a_size_without_a_unit_is_an_error_that_says_so(
    name: str, text: str, advice: str
) -> None:
    with pytest.raises(SettingsError, match=f"with a unit: add one, such as {advice}$"):
        Settings.from_environ({name: text})


@pytest.mark.parametrize("text", ["0", "0GiB", "0.1B", "-1GiB", "GiB", "1iB", "1PB", "1e3B"])
def test_no_size_at_all_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="above 0"):
        as_size(text)


@given(st.text())
def test_a_size_is_positive_or_refused(text: str) -> None:
    with suppress(ValueError):
        assert as_size(text) > 0


@pytest.mark.parametrize("text", ["off", "OFF", "0", "false", "never", "0.0"])
def test_a_ttl_can_be_turned_off(text: str) -> None:
    assert as_ttl(text) is None


def test_private_files_can_not_be_removed_after_no_time_at_all() -> None:
    Settings.from_environ({"REMOVE_PRIVATE_FILES": "true"})
    with pytest.raises(SettingsError, match="PRIVATE_IDLE_TTL"):
        Settings.from_environ({"REMOVE_PRIVATE_FILES": "true", "PRIVATE_IDLE_TTL": "off"})


@pytest.mark.parametrize(
    ("given", "expected"), [(None, None), ("0", 0), ("off", 0), ("20GiB", 20 * 2**30)]
)
def test_memory_for_sleepers_can_be_none_and_is_else_found_out(
    given: str | None, expected: int | None
) -> None:
    environ = {} if given is None else {"SLEEP_MEMORY": given}
    assert Settings.from_environ(environ).sleep_memory == expected
