from __future__ import annotations

import pytest

from router.repository.adapters import adapter_refused, is_adapter_alone, is_part
from router.repository.files import RemoteFile
from router.repository.listing import Listing


def listing(*names: str) -> Listing:
    return Listing.of(RemoteFile(name, 1, name) for name in names)


@pytest.mark.parametrize(
    "names",
    [
        ("adapter_config.json", "adapter_model.safetensors"),
        ("adapter_config.json", "adapter_model.safetensors", "config.json", "tokenizer.json"),
        ("adapter_config.json", "adapter_model.bin", "non_lora_trainables.bin"),
        ("adapter_config.json", "adapter_model.safetensors", "checkpoint-1/model.safetensors"),
        ("adapter_model.safetensors", "config.json"),
        ("adapter_config.json", "adapters.safetensors", "0000100_adapters.safetensors"),
        ("adapter_config.json", "adapter_model.safetensors", "projector.safetensors"),
        ("config.json", "pytorch_lora_weights.safetensors"),
    ],
)
def test_an_adapter_alone_is_told_from_a_model(names: tuple[str, ...]) -> None:
    assert is_adapter_alone(listing(*names))


@pytest.mark.parametrize(
    "weights", ["model.safetensors", "model-00001-of-00002.safetensors", "pytorch_model.bin"]
)
def test_a_model_that_ships_an_adapter_is_a_model(weights: str) -> None:
    names = ("adapter_config.json", "adapter_model.safetensors", "config.json", weights)
    assert not is_adapter_alone(listing(*names))
    assert not is_adapter_alone(listing("config.json", weights))


def test_weights_of_other_names_may_be_a_model() -> None:
    names = ("adapter_config.json", "adapter_model.bin", "config.json", "layers.safetensors")
    assert not is_adapter_alone(listing(*names))


@pytest.mark.parametrize(
    ("name", "size", "least", "part"),
    [
        ("layers.safetensors", 100, 50, False),
        ("layers.safetensors", 49, 50, True),  # less than in the configuration
        ("layers.safetensors", 11, 0, False),
        ("layers.safetensors", 9, 0, True),  # less than the adapter's
        ("model.safetensors", 9, 50, False),  # another check reports what is wrong with it
    ],
)
def test_a_model_of_another_name_is_as_large_as_its_configuration(
    name: str, size: int, least: int, part: bool
) -> None:
    weights = RemoteFile(name, size, "w")
    adapter = RemoteFile("adapter_model.safetensors", 10, "a")
    assert is_part(Listing.of([weights, adapter]), [weights], least) is part
    assert not is_part(Listing.of([weights]), [weights], least)


def test_an_adapter_alone_is_refused_with_its_base_model() -> None:
    refused = adapter_refused({"base_model_name_or_path": "meta-llama/Llama-3.1-8B-Instruct"})
    assert "base model, meta-llama/Llama-3.1-8B-Instruct, or" in str(refused)


@pytest.mark.parametrize(
    "base",
    [
        *("/home/me/llama", "../other/model", "a/b/c", "llama", "a/..", "a/b--c", "-a/b"),
        *("a/b\n", "a/b c", "<b>/x", "a/" + "b" * 97, "é/b", None, 5, ["a/b"]),
    ],
)
def test_only_a_well_formed_name_is_repeated(base: object) -> None:
    refused = adapter_refused({"base_model_name_or_path": base})
    assert "its base model or ask" in str(refused)


@pytest.mark.parametrize("config", [None, [], "a/b", {}])
def test_any_adapter_configuration_is_refused(config: object) -> None:
    assert adapter_refused(config).code == "unsupported_model"
