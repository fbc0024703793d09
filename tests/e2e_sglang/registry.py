"""How the installed SGLang treats each architecture: `router/repository/architectures.json`.

Runs in SGLang's environment (`make registry`), and prints the table. SGLang's own functions and
lists decide. Some models can't be imported on a CPU, so their names are read from the source.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import sys
import warnings
from collections.abc import Container, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import transformers
from sglang.srt.configs import model_config
from sglang.srt.configs.embedding_model_spec import resolve_embedding_model_spec
from sglang.srt.layers import quantization as known
from sglang.srt.model_loader.utils import _is_sequence_classification_model
from sglang.srt.models.registry import ModelRegistry
from sglang.srt.utils.hf_transformers import common  # noqa: F401 - registers configurations
from transformers import CONFIG_MAPPING, TOKENIZER_MAPPING
from transformers.models.auto import modeling_auto, tokenization_auto

_OF_ENCODERS = (
    modeling_auto.MODEL_MAPPING_NAMES,
    modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
)
# Endings of the names of transformers' models. Few other names have them.
_MODELS = (
    *("Model", "ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "ForMaskedLM"),
    *("Classification", "ForPreTraining", "ForTextEncoding", "Encoder", "Decoder"),
)

Names = dict[str, ast.Module]  # SGLang's model modules, by name


def sources() -> Names:
    folder = Path(importlib.import_module("sglang.srt.models").__path__[0])
    return {file.stem: ast.parse(file.read_text()) for file in sorted(folder.glob("*.py"))}


def entry_classes(modules: Names) -> dict[str, str]:
    """Each architecture, with the module that defines it."""
    return {
        ast.unparse(name): module
        for module, tree in modules.items()
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EntryClass"
        for name in (node.value.elts if isinstance(node.value, ast.List) else [node.value])
    }


def pools(tree: ast.Module, architecture: str) -> bool:
    """Whether the class can only pool: its `forward` returns the pooled result."""
    return any(
        isinstance(node, ast.FunctionDef)
        and node.name == "forward"
        and node.returns is not None
        and ast.unparse(node.returns) == "EmbeddingPoolerOutput"
        for cls in tree.body
        if isinstance(cls, ast.ClassDef) and cls.name == architecture
        for node in cls.body
    )


def used_by(modules: Names, module: str) -> set[str]:
    """The module, and all of SGLang's model modules that it imports, directly or not."""
    found, left = set(), [module]
    while left:
        name = left.pop()
        if name in modules and name not in found:
            found.add(name)
            left += [
                node.module.rpartition(".")[2]
                for node in ast.walk(modules[name])
                if isinstance(node, ast.ImportFrom)
                and node.module is not None
                and node.module.startswith("sglang.srt.models.")
            ]
    return found


def sees_ahead(modules: Names, module: str) -> bool:
    """Whether the module, or one that it uses, contains an encoder's attention."""
    return any(
        isinstance(node, ast.Attribute) and node.attr == "ENCODER_ONLY"
        for name in used_by(modules, module)
        for node in ast.walk(modules[name])
    )


def classifies(architecture: str) -> bool:
    return (
        spec(architecture).task.value == "classify"
        or model_config.is_cross_encoding_pooler_model([architecture])
        or model_config.is_score_and_pool_model([architecture])
        or _is_sequence_classification_model([architecture])
        or architecture.endswith("ForClassification")
    )


def spec(architecture: str) -> Any:
    return resolve_embedding_model_spec(
        [architecture],
        is_embedding_requested=False,
        is_embedding_gemma=architecture == "EmbeddingGemmaModel",
    )


def architectures(modules: Names) -> Iterator[tuple[str, dict[str, object]]]:
    """A model generates if SGLang says so and it has a part that generates.

    A pooling model sees ahead if SGLang's own specification says so, or if it uses an encoder's
    attention. (A generating model may use such attention in its vision, its draft or a block of
    a diffusion. SGLang handles these.)
    """
    found = entry_classes(modules)
    unknown = set(ModelRegistry.get_supported_archs()) - set(found)
    assert not unknown, f"not found in the source: {unknown}"
    for name, module in sorted(found.items()):
        # A fallback for architectures without code in SGLang.
        generic = name.startswith("Transformers") and "ForCausalLM" not in name
        pooled = generic or pools(modules[module], name)
        about: dict[str, object] = {"task": "generate"}
        if pooled or not model_config.is_generation_model([name]):
            about = {"task": "classify" if classifies(name) else "embed"}
            if spec(name).bidirectional_attention or sees_ahead(modules, module):
                about["bidirectional"] = True
        if model_config.is_audio_model([name]):
            about["transcribes"] = True
        yield name, about


def encoders(native: Container[str]) -> Iterator[tuple[str, dict[str, object]]]:
    """More architectures that see ahead, for which SGLang uses transformers' code.

    Their families guess masked words, and have no decoder.
    """
    for kind in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        if CONFIG_MAPPING[kind]().is_encoder_decoder:
            continue
        listed = [mapping.get(kind, ()) for mapping in _OF_ENCODERS]
        for name in (name for name in listed if isinstance(name, str)):  # else it has several
            found = getattr(transformers, name)
            if name not in native and found.is_backend_compatible():
                task = "classify" if _is_sequence_classification_model([name]) else "embed"
                yield name, {"task": task, "bidirectional": True}


def model_types() -> list[str]:
    """The model types whose configuration needs no code from the repository."""
    return sorted(set(CONFIG_MAPPING.keys()))


def fallback(native: Container[str]) -> Iterator[str]:
    """Architectures without code in SGLang, which it loads with transformers' code.

    Includes those that can't be imported here for lack of a library.
    """
    for name in dir(transformers):
        if name in native or not name.endswith(_MODELS):
            continue
        try:
            found = getattr(transformers, name)
            compatible = found is not None and found.is_backend_compatible()
        except AttributeError:
            continue  # not a model
        except ImportError:
            compatible = True
        if compatible:
            yield name


def named_by_sglang() -> list[str]:
    """The model types whose architectures SGLang's own code may set or change."""
    # utils/hf_transformers/config.py sets these.
    found = {"multi_modality", "longcat_flash"}
    for name in CONFIG_MAPPING:
        module = CONFIG_MAPPING[name].__module__
        if module.startswith("sglang.") and "architectures" in source_of(module):
            found.add(name)
    return sorted(found)


def source_of(module: str) -> str:
    return inspect.getsource(importlib.import_module(module))


def tokenizer_types() -> list[str]:
    """The model types whose tokenizer needs no code from the repository."""
    wrong = tokenization_auto.MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS
    return sorted(
        {name for name in CONFIG_MAPPING if CONFIG_MAPPING[name] in TOKENIZER_MAPPING} | wrong
    )


def tokenizer_classes() -> list[str]:
    """The same by the class named in `tokenizer_config.json`."""
    return [
        name
        for name in dir(transformers)
        if name.endswith(("Tokenizer", "TokenizerFast", "Backend"))
        and tokenization_auto.tokenizer_class_from_name(name) is not None
    ]


def quantization() -> Iterator[tuple[str, dict[str, object]]]:
    """Each method, with its minimum CUDA compute capability (75 is 7.5), and whether CPUs
    support it.

    The import ran on a CPU: there the method `gptq` exists beside those of a GPU.
    """
    for name, method in sorted(known.BASE_QUANTIZATION_METHODS.items()):
        about: dict[str, object] = {"cpu": name in known.CPU_QUANTIZATION_METHODS}
        if name != "gptq":
            about["capability"] = capability(name, method)
        yield name, about


def capability(name: str, method: Any) -> int:
    """Some methods read their own settings. Only this one matters on CUDA."""
    if inspect.ismethod(method.get_min_capability):
        return int(method.get_min_capability())
    return int(method.get_min_capability(SimpleNamespace(use_mxfp8=name == "mxfp8")))


# The values that determine a model's memory, by SGLang's names.
_SHAPE = (
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "head_dim", "vocab_size", "max_position_embeddings"),
    *("global_head_dim", "num_global_key_value_heads", "kv_lora_rank", "qk_rope_head_dim"),
    "index_head_dim",
)
# A type without these is not about text.
_OF_TEXT = {"num_hidden_layers", "vocab_size"}


def shapes() -> Iterator[tuple[str, dict[str, object]]]:
    """The defaults of each type's configuration, and its own names for values.

    A value that follows from others (mostly the width of a head) is not a default. `text`: the
    type of the part with the language model.
    """
    for kind in model_types():
        try:
            config = CONFIG_MAPPING[kind]()
        except Exception:  # noqa: BLE001 - those of some types can't be made of nothing
            continue
        about: dict[str, object] = {}
        if text := getattr(getattr(config, "text_config", None), "model_type", None):
            about["text"] = text
        aliases = type(config).attribute_map or {}
        if own := {name: aliases[name] for name in _SHAPE if name in aliases}:
            about["names"] = own
        fixed = dict(fixed_values(type(config), config))
        if fixed.keys() >= _OF_TEXT:
            about["defaults"] = fixed
        if about.keys() & {"text", "defaults"}:
            yield kind, about


def fixed_values(kind: Any, config: Any) -> Iterator[tuple[str, int]]:
    wider = {"hidden_size": 2 * value_of(config, "hidden_size")}
    more = {"num_attention_heads": 2 * value_of(config, "num_attention_heads")}
    others = [made for given in (wider, more) if (made := altered(kind, given)) is not None]
    for name in _SHAPE:
        value = value_of(config, name)
        derived = name in ("head_dim", "num_key_value_heads") and any(
            value_of(other, name) != value for other in others
        )
        if value and not derived:
            yield name, value


def value_of(config: Any, name: str) -> int:
    try:
        value = getattr(config, name, None)
    except Exception:  # noqa: BLE001 - some differ from layer to layer, and say so by an error
        return 0
    return value if type(value) is int else 0


def altered(kind: Any, given: dict[str, int]) -> Any:
    """The configuration with these values; None if the class refuses one."""
    try:
        return kind(**given)
    except Exception:  # noqa: BLE001 - whatever it checks
        return None


def lines(items: Iterable[tuple[str, object]]) -> str:
    return ",\n".join(f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in items)


def table() -> str:
    """One entry per line, so that a new SGLang gives a readable diff."""
    modules = sources()
    native = entry_classes(modules)
    return (
        "{\n"
        f'  "sglang": "{version("sglang")}",\n'
        f'  "transformers": "{version("transformers")}",\n'
        f'  "architectures": {{\n{lines(architectures(modules))}\n  }},\n'
        f'  "encoders": {{\n{lines(encoders(native))}\n  }},\n'
        f'  "shapes": {{\n{lines(shapes())}\n  }},\n'
        f'  "quantization": {{\n{lines(quantization())}\n  }},\n'
        f'  "model_types": [\n{names(model_types())}\n  ],\n'
        f'  "fallback": [\n{names(fallback(native))}\n  ],\n'
        f'  "named_by_sglang": [\n{names(named_by_sglang())}\n  ],\n'
        f'  "tokenizer_types": [\n{names(tokenizer_types())}\n  ],\n'
        f'  "tokenizer_classes": [\n{names(tokenizer_classes())}\n  ]\n'
        "}\n"
    )


def names(items: Iterable[str]) -> str:
    return ",\n".join(f"    {json.dumps(name)}" for name in items)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.stdout.write(table())
