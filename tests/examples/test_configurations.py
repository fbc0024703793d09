"""The worker understands the compose file and the models file."""

from __future__ import annotations

import re
from typing import Any

import yaml

from router.config.models_file import parse
from router.config.settings import SETTINGS, Settings
from tests.worker import ROOT

EXAMPLES = ROOT / "examples"
GIB = 2**30


def worker() -> dict[str, Any]:
    """The service in the compose file."""
    document = yaml.safe_load((EXAMPLES / "compose.yaml").read_text())
    service: dict[str, Any] = document["services"]["worker"]
    return service


def test_the_compose_file_sets_variables_that_the_worker_reads() -> None:
    environment = worker()["environment"]
    assert environment.keys() <= SETTINGS.keys()
    plain = {name: value for name, value in environment.items() if "${" not in value}
    assert Settings.from_environ(plain).host == "0.0.0.0"


def test_so_are_the_variables_that_are_commented_out() -> None:
    text = (EXAMPLES / "compose.yaml").read_text()
    document = yaml.safe_load(re.sub(r"# (?=MODELS_CONFIG|GPU_MEMORY_BUDGET|- )", "", text))
    environment, volumes = (
        document["services"]["worker"][k] for k in ("environment", "volumes")
    )
    assert {"MODELS_CONFIG", "GPU_MEMORY_BUDGET"} <= environment.keys() <= SETTINGS.keys()
    assert volumes[1] == f"./models.yaml:{environment['MODELS_CONFIG']}:ro"


def test_the_compose_file_builds_the_repositorys_dockerfile() -> None:
    assert (EXAMPLES / worker()["build"] / "Dockerfile").samefile(ROOT / "Dockerfile")


def test_the_models_file_names_its_schema_for_editors() -> None:
    first, *_ = (EXAMPLES / "models.yaml").read_text().splitlines()
    path = first.removeprefix("# yaml-language-server: $schema=")
    assert (EXAMPLES / path).samefile(ROOT / "docs" / "models.schema.json")


def test_the_models_file_can_be_read() -> None:
    chat, private, local = parse((EXAMPLES / "models.yaml").read_text())
    assert (chat.aliases, chat.pinned, chat.preload) == (("default-chat",), True, True)
    assert (private.token_env, private.idle_ttl) == ("ORG_TOKEN", 600.0)
    assert private.flags == ("--context-length", "8192", "--tool-call-parser", "qwen")
    assert local.aliases == ("baked-in",)
    assert sum(model.memory or 0 for model in (chat, private, local)) <= 75 * GIB
