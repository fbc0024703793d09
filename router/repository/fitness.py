"""Reasons why no engine could serve a model, told before its weights are downloaded.

Only what is certain to fail is refused: SGLang's source says when. Where a flag of the operator
changes what SGLang reads, the checks of that are left out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from router.errors import UnsupportedModel
from router.repository import architectures as sglang
from router.repository.conditions import Conditions
from router.repository.quantization import check_quantization
from router.repository.read_json import shown

Json = Mapping[str, Any]

# What holds a vocabulary, by the names that transformers and SGLang look for.
_VOCABULARY = re.compile(
    r"tokenizer[\w.-]*\.(json|model)|tekken\.json|.*\.(model(\.v\w+)?|tiktoken|spm|bpe|codes|tokenizer)"
    r"|.*vocab[\w.-]*|merges[\w.-]*\.txt|dict\.txt|byte_maps\.json"
)
_NO_VOCABULARY = frozenset({"tokenizer_config.json"})
# These read bytes or characters.
_NEEDS_NONE = ("ByT5", "Canine", "Perceiver", "MyT5", "Character")
# Models that read more than text have their tokenizer from a processor.
_PROCESSORS = frozenset({"processor_config.json", "preprocessor_config.json"})

# SGLang reads these without a `model_type` (utils/hf_transformers/config.py).
_LONGCAT = frozenset(
    {"LongcatCausalLM", "LongcatFlashForCausalLM", "LongcatFlashNgramForCausalLM"}
)
_RAW_MAMBA = frozenset({"d_model", "ssm_cfg"})
# Of these SGLang makes other architectures, by further files (configs/model_config.py).
_RENAMED = frozenset({"Qwen3_5Model", "Qwen3_5TextModel"})
# By such names SGLang knows models whose configuration is in `params.json`
# (utils/hf_transformers/mistral_utils.py).
_MISTRAL = re.compile(
    r"mistral-large-3|mistral-small-4|leanstral|eagle.*mistral|mistral.*eagle"
)

# Of these SGLang has code of its own that reads `position_embedding_type`
# (models/bert.py, models/roberta.py).
_ENCODERS = frozenset(
    {"BertModel", "BertForSequenceClassification", "Contriever"}
    | {"XLMRobertaModel", "XLMRobertaForSequenceClassification"}
)
_POSITIONS = "absolute"

_ALLOW = (
    "Only the operator can allow that, with --trust-remote-code for this model in the models "
    "file. Use another model, or ask the operator."
)


@dataclass(frozen=True, slots=True)
class Layout:
    """What is known of a repository before its weights come."""

    path: str  # of the snapshot: SGLang knows some models by it
    files: Collection[str]  # names of those in no folder
    config: Json | None  # of config.json; None: there is none
    tokenizer: Json = field(default_factory=dict)  # of tokenizer_config.json
    quantization: Mapping[str, Json] = field(
        default_factory=dict
    )  # of files beside config.json


def check_fitness(model: Layout, on: Conditions) -> None:
    """Raises `UnsupportedModel`, with the reason and what to do."""
    _check_configuration(model, on)
    _check_positions(model.config or {}, on)
    _check_tokenizer(model, on)
    check_quantization(model.config or {}, model.quantization, model.files, on)


def _check_configuration(model: Layout, on: Conditions) -> None:
    if on.sets("--load-format", "--model-config-parser", "--decrypted-config-file"):
        return
    if _MISTRAL.search(model.path.lower()) and "params.json" in model.files:
        return
    if model.config is None:
        raise UnsupportedModel(
            "The repository has no config.json, so it is no model that SGLang can load. Use "
            "another, or ask its owner to convert it."
        )
    if "configuration_files" in model.config:
        return  # the configuration is in one of those
    names = sglang.named(model.config)
    if _LONGCAT.isdisjoint(names) and not (
        not names and "model_type" not in model.config and model.config.keys() >= _RAW_MAMBA
    ):
        _check_model_type(model.config, on)
        _check_architectures(model.config, names, on)


def _check_model_type(config: Json, on: Conditions) -> None:
    kind = config.get("model_type")
    if not on.plain or (isinstance(kind, str) and sglang.knows_model_type(kind)):
        return
    if _code_for(config, "AutoConfig"):
        if on.trusted:
            return
        raise UnsupportedModel(f"The model needs code of its own to be loaded. {_ALLOW}")
    if kind is None:
        raise UnsupportedModel(
            "The model's config.json has no `model_type`, so SGLang can't tell what it is. Ask "
            "its owner to correct it."
        )
    raise UnsupportedModel(
        f"SGLang {sglang.version()} knows no model of the type {shown(kind)}, which the "
        "model's config.json names. Use another model, or a worker with a newer SGLang."
    )


def _check_architectures(config: Json, names: tuple[str, ...], on: Conditions) -> None:
    kind = config.get("model_type")
    if on.sets("--json-model-override-args", "--model-impl") or not on.plain:
        return
    if (isinstance(kind, str) and sglang.is_renamed(kind)) or not _RENAMED.isdisjoint(names):
        return
    if on.trusted and _code_for(config, "AutoConfig"):
        return  # that code may say anything
    if not names:
        raise UnsupportedModel(
            "The model's config.json lists no `architectures`, so SGLang can't tell how to run "
            "it. Ask its owner to correct it."
        )
    if sglang.identify(names, config) is not None:
        return
    for name in names:
        if not (name.startswith("Transformers") or sglang.falls_back(name)):
            _check_own_code(name, config, on)


def _check_own_code(name: str, config: Json, on: Conditions) -> None:
    """Of a model whose architecture neither SGLang nor transformers can serve."""
    if not _code_for(config, "AutoModel"):
        raise UnsupportedModel(
            f"SGLang {sglang.version()} does not support the architecture {shown(name)}. Use "
            "another model, or a worker with a newer SGLang."
        )
    if not on.trusted:
        raise UnsupportedModel(
            f"SGLang {sglang.version()} does not support the architecture {shown(name)}, and "
            f"the model brings code of its own for it. {_ALLOW}"
        )


def _check_positions(config: Json, on: Conditions) -> None:
    """SGLang's own encoders raise an error for all but one way to tell positions."""
    kind = config.get("position_embedding_type", _POSITIONS)
    names = sglang.named(config)
    if on.sets("--json-model-override-args", "--model-impl") or not on.plain:
        return
    if kind != _POSITIONS and not _ENCODERS.isdisjoint(names):
        raise UnsupportedModel(
            f"The model tells positions by {shown(kind)}, and SGLang {sglang.version()} "
            f"supports only {shown(_POSITIONS)} of the architecture {shown(names[0])}. Use "
            "another model."
        )


def _check_tokenizer(model: Layout, on: Conditions) -> None:
    if on.sets("--skip-tokenizer-init", "--tokenizer-path", "--load-format"):
        return
    named = model.tokenizer.get("tokenizer_class")
    own_code = _code_for(model.tokenizer, "AutoTokenizer")
    if own_code and on.trusted:
        return
    files = set(model.files)
    if not any(_VOCABULARY.fullmatch(name) for name in files - _NO_VOCABULARY):
        if not (isinstance(named, str) and named.startswith(_NEEDS_NONE)):
            raise UnsupportedModel(
                "The repository has no tokenizer (tokenizer.json, tokenizer.model, vocab.json "
                "and the like), so SGLang can't read text for it. Ask its owner to add one."
            )
        return
    if not own_code or not on.plain or not files.isdisjoint({*_PROCESSORS, "tekken.json"}):
        return
    kind = (model.config or {}).get("model_type")
    if not sglang.has_tokenizer_code(kind, named):
        raise UnsupportedModel(f"The model's tokenizer needs code of its own. {_ALLOW}")


def _code_for(config: Json, role: str) -> bool:
    """Whether the repository has code of its own for this."""
    named = config.get("auto_map")
    if role == "AutoTokenizer" and isinstance(named, list):
        return True
    return isinstance(named, dict) and bool(named.get(role))
