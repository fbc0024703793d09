"""The RunPod Hub's listing, the image, the README and the code agree."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from engines import flags as engine_flags
from engines.flags import GONE_VALUES, flags
from router.config import operator_models
from router.config.listing import SECRET_INPUT
from router.config.settings import SETTINGS, Settings, SettingsError
from tests.engines.test_flags import EXAMPLES, SWITCHES, VALUES
from tests.generated_docs import README, REFERENCE, between, generated, with_form

ROOT = Path(__file__).parents[2]
HUB: dict[str, Any] = json.loads((ROOT / ".runpod/hub.json").read_text())
TESTS: dict[str, Any] = json.loads((ROOT / ".runpod/tests.json").read_text())
CONFIG: dict[str, Any] = HUB["config"]
INPUTS: dict[str, dict[str, Any]] = {item["key"]: item["input"] for item in CONFIG["env"]}

SMALLEST_GPU = 22 << 30  # bytes of an ADA_24 that engines can use

# By what the operator enters. To the form and to the code, everything else is text.
LIKE_TEXT = {"string", SECRET_INPUT, "huggingface"}


def image_environ() -> dict[str, str]:
    """The variables with plain values that the Dockerfile sets."""
    dockerfile = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    settings = re.findall(r"^ENV (.*)$", dockerfile, re.MULTILINE)
    pairs = [pair.partition("=") for line in settings for pair in line.split()]
    return {name: value for name, _, value in pairs if "$" not in value}


def as_environ(name: str, default: object) -> str:
    """A default of the listing, as it appears in the worker's environment."""
    if isinstance(default, bool):
        value: str = INPUTS[name]["trueValue" if default else "falseValue"]
        return value
    return str(default)


def accepts(name: str, value: str) -> bool:
    with suppress(SettingsError):
        Settings.from_environ({name: value})
        return True
    return False


def kind(name: str) -> str:
    """The code's type for this variable."""
    if name in SWITCHES:
        return "boolean"
    if name in VALUES:
        return "number" if re.fullmatch(r"-?[0-9.]+", EXAMPLES[name]) else "text"
    if accepts(name, "true") and not accepts(name, "7"):
        return "boolean"
    if name == "ENGINE_ARGS":
        return "text"
    others = any(accepts(name, word) for word in ("7MiB", "off"))
    return "number" if accepts(name, "7") and not others else "text"


def test_the_listing_offers_every_variable_once_and_no_other() -> None:
    keys = [item["key"] for item in CONFIG["env"]]
    assert len(keys) == len(set(keys))
    assert set(keys) == {*SETTINGS, *VALUES, *SWITCHES, "ENGINE_ARGS"}


@pytest.mark.parametrize(
    ("file", "text"), [pytest.param(*one, id=one[0].name) for one in generated()]
)
def test_what_is_generated_is_up_to_date(file: Path, text: str) -> None:
    assert file.read_text() == text, "run `make docs`"


def test_a_document_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="settings:begin"):
        between("no marks", "settings", "new")
    with pytest.raises(ValueError, match="env"):
        with_form("{}", [])


def test_what_is_written_by_hand_stays_as_it_is() -> None:
    marked = "before\n<!-- x:begin -->\nold\n<!-- x:end -->\nafter\n"
    assert between(marked, "x", "new") == marked.replace("old", "new")


def test_the_reference_tells_of_every_variable_and_the_readme_of_a_few() -> None:
    reference = REFERENCE.read_text()
    for one in (*SETTINGS.values(), *engine_flags.SETTINGS.values()):
        (row,) = re.findall(rf"^\| `{one.name}`.*$", reference, re.MULTILINE)
        assert isinstance(one.default, dict) or not one.default or f"| `{one.default}` |" in row
        assert one.meaning.endswith(".")
    few = re.findall(r"^\| `([A-Z_]+)`.*\|.*\|.*\|$", README.read_text(), re.MULTILINE)
    assert {"MODEL_NAME", "HF_TOKEN", "MODELS_CONFIG", "API_KEYS"} <= set(few)
    assert len(few) < 15


@pytest.mark.parametrize("name", INPUTS)
def test_a_type_is_what_the_code_takes(name: str) -> None:
    given = INPUTS[name]["type"]
    assert ("text" if given in LIKE_TEXT else given) == kind(name)


@pytest.mark.parametrize("name", INPUTS)
def test_a_default_is_the_images_or_the_codes(name: str) -> None:
    declared = SETTINGS[name].default if name in SETTINGS else ""
    code = declared if isinstance(declared, str) else ""  # it may depend on the platform
    wanted = image_environ().get(name, code)
    offered = as_environ(name, INPUTS[name]["default"])
    assert offered == (wanted or ("false" if name in SWITCHES else ""))
    shown = INPUTS[name]["default"]
    assert isinstance(shown, {"number": int | float, "boolean": bool}.get(kind(name), str)) or (
        shown == ""
    )


def test_a_deployment_with_all_defaults_is_the_worker_with_none() -> None:
    sent = {name: as_environ(name, field["default"]) for name, field in INPUTS.items()}
    home = {"HOME": "/root"}
    assert Settings.from_environ(sent | home) == Settings.from_environ(image_environ() | home)
    assert flags(sent) == ()


def test_openssl_is_never_sent_an_empty_name() -> None:
    # The router treats an empty value as unset, but OpenSSL in its process would then trust
    # nobody.
    assert INPUTS["SSL_CERT_FILE"]["default"].startswith("/")


def test_the_token_is_masked_optional_and_stands_beside_the_model() -> None:
    keys = list(INPUTS)
    assert keys.index("HF_TOKEN") == keys.index("MODEL_NAME") + 1
    token = INPUTS["HF_TOKEN"]
    assert (token["name"], token["type"]) == ("HuggingFace Token", SECRET_INPUT)
    assert (token["required"], token["default"]) == (False, "")
    assert not token["advanced"]
    assert "gated and private models" in token["description"]


def test_tokens_and_keys_are_masked_and_all_other_types_are_those_of_runpods_guide() -> None:
    masked = {name for name, field in INPUTS.items() if field["type"] == "password"}
    assert masked == {"HF_TOKEN", "API_KEYS", "ADMIN_API_KEY"}
    documented = {"string", "number", "boolean", "huggingface"}
    assert {INPUTS[name]["type"] for name in INPUTS.keys() - masked} == documented


@pytest.mark.parametrize("name", [v.name for v in SETTINGS.values() if v.secret])
def test_a_secret_is_masked_and_has_no_value_anywhere(name: str) -> None:
    assert INPUTS[name]["type"] == SECRET_INPUT
    assert INPUTS[name]["default"] == ""
    assert not any(name in preset["defaults"] for preset in CONFIG["presets"])
    assert name not in {item["key"] for item in TESTS["config"]["env"]}
    assert name not in image_environ()


def test_nothing_in_the_listing_looks_like_a_token() -> None:
    for file in (*(ROOT / ".runpod").iterdir(), ROOT / "Dockerfile"):
        if file.is_file():
            assert not re.search(r"hf_[A-Za-z0-9]{8}", file.read_text()), file


@pytest.mark.parametrize("name", [name for name, f in INPUTS.items() if "options" in f])
def test_an_option_is_a_value_that_the_code_takes_and_the_default_is_one(name: str) -> None:
    values = [option["value"] for option in INPUTS[name]["options"]]
    assert INPUTS[name]["default"] in values
    assert len(values) == len(set(values))
    if name in SETTINGS:
        assert all(accepts(name, value) for value in values)
    else:
        assert not any((name, value) in GONE_VALUES for value in values)


def test_every_field_is_described() -> None:
    for field in INPUTS.values():
        assert field["name"]
        assert field["description"].endswith(".")
        assert isinstance(field["required"], bool)
        assert isinstance(field["advanced"], bool)


def test_presets_set_variables_that_exist() -> None:
    for preset in CONFIG["presets"]:
        assert preset["name"]
        assert set(preset["defaults"]) <= set(INPUTS)
        Settings.from_environ(preset["defaults"])


def test_the_presets_are_a_chat_model_several_models_and_an_embedder_with_a_reranker() -> None:
    offered = [Settings.from_environ(preset["defaults"]) for preset in CONFIG["presets"]]
    catalogs = [operator_models.catalog(settings) for settings in offered]
    chat, several, search = [[str(m.source) for m in one.models] for one in catalogs]
    assert len(chat) == 1
    assert len(several) == 3
    assert any("Embedding" in name for name in search)
    assert any("reranker" in name for name in search)
    for catalog in catalogs:
        assert catalog.default is not None
        claims = [model.memory or 0 for model in catalog.models]
        assert sum(claims) <= SMALLEST_GPU
        assert len(claims) == 1 or all(claims)


def test_the_listing_has_what_runpod_asks_for() -> None:
    assert HUB["type"] == "serverless"
    assert HUB["category"] in {"audio", "embedding", "language", "video", "image"}
    assert HUB["iconUrl"].startswith("https://")
    assert HUB["title"]
    assert HUB["description"]
    assert CONFIG["runsOn"] == "GPU"
    assert CONFIG["containerDiskInGb"] > 0
    assert CONFIG["gpuCount"] == 1
    assert CONFIG["gpuIds"]


@pytest.mark.parametrize("config", [CONFIG, TESTS["config"]])
def test_the_hosts_run_the_cuda_of_sglangs_image(config: dict[str, Any]) -> None:
    # RunPod takes the first one as the minimum for a host.
    assert config["allowedCudaVersions"][0] == "13.0"


def test_runpods_tests_ask_the_default_another_model_and_for_a_stream() -> None:
    bodies = []
    for test in TESTS["tests"]:
        assert set(test) == {"name", "input", "timeout"}
        assert 60_000 <= test["timeout"] <= 600_000  # ms
        assert test["input"]["openai_route"] == "/v1/chat/completions"
        body = test["input"]["openai_input"]
        assert body["messages"]
        bodies.append(body)
    environ = {item["key"]: item["value"] for item in TESTS["config"]["env"]}
    default = Settings.from_environ(environ).model_name
    assert default is not None
    assert any("model" not in body for body in bodies)
    assert any(body.get("model", default) != default for body in bodies)
    assert any(body.get("stream") is True for body in bodies)
    assert set(environ) <= set(INPUTS)
    assert TESTS["config"]["gpuTypeId"].startswith("NVIDIA ")
    assert TESTS["config"]["gpuCount"] == 1
