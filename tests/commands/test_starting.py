"""The worker's log at its start."""

from __future__ import annotations

import io
import json
import logging
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.devices import DeviceFacts
from engines.interpreter import Finding
from router import __version__, logs
from router.app.configuration import Configuration
from router.commands.starting import (
    cache,
    callers,
    hardware,
    lines,
    models,
    tell_start,
    versions,
)
from router.config.catalog import OperatorModel
from router.config.platform import Platform
from router.config.settings import Settings
from router.models import ModelRef

FOUND = Finding("text", is_warning=False, version="0.5.23", has_saver=True)


@pytest.fixture
def root() -> Iterator[None]:
    logger = logging.getLogger()
    before = logger.handlers[:], logger.level
    yield
    logger.handlers[:], logger.level = before


def test_versions_say_what_engines_can_do() -> None:
    text = str(versions(FOUND))
    assert text.startswith(f"model-router {__version__}, Python 3.")
    assert text.endswith("engines run SGLang 0.5.23, can sleep, don't start ahead (no gate)")


def test_each_device_is_told_with_its_memory_and_its_driver() -> None:
    gpu = DeviceFacts("NVIDIA H200", 140 << 30, 139 << 30, "570.1")
    line = hardware((gpu, DeviceFacts("CPU", 8 << 30, 4 << 30)))
    assert str(line) == (
        "devices: NVIDIA H200, 139.0 GiB of 140.0 GiB free, driver 570.1; "
        "CPU, 4.0 GiB of 8.0 GiB free"
    )


def test_the_operators_models_are_named_with_what_holds_for_them() -> None:
    first = OperatorModel(source=ModelRef("acme/a"), pinned=True, preload=True)
    local = OperatorModel(source=Path("/secret/place/b"))
    assert str(models((first, local))) == "your models: acme/a (pinned, to be preloaded), b"
    assert str(models(())) == "your models: none"


def test_of_many_models_the_first_are_named() -> None:
    many = tuple(OperatorModel(source=ModelRef(f"acme/m{n}")) for n in range(25))
    assert str(models(many)).endswith("acme/m19, and 5 more")


@pytest.mark.parametrize(
    ("environ", "platform", "text"),
    [
        ({}, Platform.PLAIN, "this machine, without keys; operator: on this machine"),
        (
            {"HOST": "0.0.0.0"},
            Platform.PLAIN,
            "anybody, without keys (API_KEYS); operator: nobody (ADMIN_API_KEY is not set)",
        ),
        (
            {"API_KEYS": "{key},{other}"},
            Platform.PLAIN,
            "with one of 2 API keys; operator: nobody (ADMIN_API_KEY is not set)",
        ),
        (
            {"API_KEYS": "{key}", "ADMIN_API_KEY": "{other}"},
            Platform.PLAIN,
            "with the API key; operator: with ADMIN_API_KEY",
        ),
        ({}, Platform.QUEUE, "RunPod's queue, which knows its callers; operator: nobody"),
    ],
)
def test_it_is_told_who_may_call(
    environ: dict[str, str], platform: Platform, text: str
) -> None:
    key, other = secrets.token_hex(16), secrets.token_hex(16)
    environ = {name: value.format(key=key, other=other) for name, value in environ.items()}
    settings = Settings.from_environ(environ, platform)
    line = callers(settings)
    assert str(line) == f"callers: {text}"
    assert (line.level == logging.WARNING) == text.startswith("anybody")


@pytest.mark.parametrize("name", ["not/made/yet", "x" * 300])
def test_a_cache_that_can_not_be_looked_at_is_told_with_the_disk_above_it(
    tmp_path: Path, name: str
) -> None:
    settings = Settings.from_environ({"HF_HUB_CACHE": str(tmp_path / name)})
    assert cache(settings).facts["disk"] == shutil.disk_usage(tmp_path).total


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_secret_is_in_the_lines(root: None, form: str, tmp_path: Path) -> None:
    key, token = secrets.token_hex(16), "hf_" + secrets.token_hex(17)
    environ = {
        "API_KEYS": key,
        "HF_TOKEN": token,
        "HF_HUB_CACHE": str(tmp_path / token),
        "CUDA_VISIBLE_DEVICES": "",
    }
    configuration = Configuration.read(environ, Platform.PLAIN)
    stream = io.StringIO()
    redactor = logs.configure("INFO", form, configuration.secrets, stream)
    tell_start(logging.getLogger("router"), configuration, FOUND, redactor)
    said = stream.getvalue().splitlines()
    assert len(said) == len(list(lines(configuration, FOUND)))
    assert key not in stream.getvalue()
    assert token not in stream.getvalue()
    if form == "json":
        told = [json.loads(one) for one in said]
        assert all(one["message"] for one in told)
        assert told[0]["sglang"] == "0.5.23"
        assert told[1]["devices"][0]["memory"] > 0
