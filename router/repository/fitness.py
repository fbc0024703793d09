"""Finds reasons why no engine could serve a model, before its weights are downloaded.

It refuses only what is certain to fail according to SGLang's source. If a flag of the operator
changes what SGLang reads, the related checks are skipped.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from router.errors import UnsupportedModel
from router.repository import architectures as sglang
from router.repository.conditions import Conditions
from router.repository.own_code import ASK_FOR_TRUST, code_for
from router.repository.quantization import check_quantization
from router.repository.read_json import shown
from router.repository.tokenizer_fitness import check_tokenizer

Json = Mapping[str, Any]

# SGLang reads these without a `model_type` (utils/hf_transformers/config.py).
_LONGCAT = frozenset(
    {"LongcatCausalLM", "LongcatFlashForCausalLM", "LongcatFlashNgramForCausalLM"}
)
_RAW_MAMBA = frozenset({"d_model", "ssm_cfg"})
# SGLang replaces these architectures, depending on further files (configs/model_config.py).
_RENAMED = frozenset({"Qwen3_5Model", "Qwen3_5TextModel"})
# SGLang recognizes models with a `params.json` configuration by these names
# (utils/hf_transformers/mistral_utils.py).
_MISTRAL = re.compile(
    r"mistral-large-3|mistral-small-4|leanstral|eagle.*mistral|mistral.*eagle"
)

# For these, SGLang has its own code that reads `position_embedding_type` (models/bert.py,
# models/roberta.py).
_ENCODERS = frozenset(
    {"BertModel", "BertForSequenceClassification", "Contriever"}
    | {"XLMRobertaModel", "XLMRobertaForSequenceClassification"}
)
_POSITIONS = "absolute"
_MODEL_CODE = ("AutoModel", "AutoModelForMaskedLM", "AutoModelForSequenceClassification")


@dataclass(frozen=True, slots=True)
class Layout:
    """What is known about a repository before its weights are downloaded."""

    path: str  # of the snapshot; SGLang recognizes some models by it
    files: Collection[str]  # names of top-level files
    config: Json | None  # of config.json; None: there is none
    tokenizer: Json = field(default_factory=dict)  # of tokenizer_config.json
    quantization: Mapping[str, Json] = field(
        default_factory=dict
    )  # of files beside config.json


def check_fitness(model: Layout, on: Conditions) -> None:
    """Raises `UnsupportedModel`, with the reason and what to do."""
    _check_configuration(model, on)
    _check_encoder(model.config or {}, on)
    check_tokenizer(model.tokenizer, model.config or {}, model.files, on)
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
    if code_for(config, "AutoConfig"):
        if not on.trusted:
            _check_runs(config, on)  # if nothing does, the permission is of no use
            raise UnsupportedModel(
                f"The model needs code of its own to be loaded. {ASK_FOR_TRUST}"
            )
        return
    if kind is None:
        raise UnsupportedModel(
            "The model's config.json has no `model_type`, so SGLang can't tell what it is. Ask "
            "its owner to correct it."
        )
    raise UnsupportedModel(
        f"SGLang {sglang.version()} does not support the model type {shown(kind)}, which the "
        "model's config.json names. Use another model, or a worker with a newer SGLang."
    )


def _check_architectures(config: Json, names: tuple[str, ...], on: Conditions) -> None:
    kind = config.get("model_type")
    if on.sets("--json-model-override-args", "--model-impl") or not on.plain:
        return
    if (isinstance(kind, str) and sglang.is_renamed(kind)) or not _RENAMED.isdisjoint(names):
        return
    if not names:
        if on.trusted and code_for(config, "AutoConfig"):
            return  # that code may name some
        raise UnsupportedModel(
            "The model's config.json lists no `architectures`, so SGLang can't tell how to run "
            "it. Ask its owner to correct it."
        )
    _check_runs(config, on)
    if (name := _unsupported(config)) is not None and not on.trusted:
        raise UnsupportedModel(
            f"SGLang {sglang.version()} does not support the architecture {shown(name)}, and "
            f"the model brings code of its own for it. {ASK_FOR_TRUST}"
        )


def _check_runs(config: Json, on: Conditions) -> None:
    """Check that some code can run the architecture. From a repository, SGLang only uses code
    for `AutoModel`: code for `AutoConfig` or `AutoModelForCausalLM` does not help."""
    if on.sets("--json-model-override-args", "--model-impl") or code_for(config, "AutoModel"):
        return
    if (name := _unsupported(config)) is not None:
        raise UnsupportedModel(
            f"SGLang {sglang.version()} does not support the architecture {shown(name)}. Use "
            "another model, or a worker with a newer SGLang."
        )


def _unsupported(config: Json) -> str | None:
    """The architecture that neither SGLang nor transformers has code for; None: there is code.

    SGLang uses transformers' code if it has no code of its own for any of the architectures.
    """
    names = sglang.named(config)
    if sglang.identify(names, config) is not None:
        return None
    lacking = (
        n for n in names if not n.startswith("Transformers") and not sglang.falls_back(n)
    )
    return next(lacking, None)


def _check_encoder(config: Json, on: Conditions) -> None:
    """SGLang's own encoders implement only the original variant of their architecture."""
    names = sglang.named(config)
    if on.sets("--json-model-override-args", "--model-impl") or not on.plain:
        return
    if _ENCODERS.isdisjoint(names):
        return
    kind = config.get("position_embedding_type", _POSITIONS)
    if kind != _POSITIONS:
        raise UnsupportedModel(
            f"The model uses {shown(kind)} position embeddings. SGLang {sglang.version()} "
            f"supports only {shown(_POSITIONS)} with the architecture {shown(names[0])}. Use "
            "another model."
        )
    if any(code_for(config, role) for role in _MODEL_CODE):
        raise UnsupportedModel(
            f"The model brings code of its own for the architecture {shown(names[0])}, and "
            f"SGLang {sglang.version()} runs only its own. Use another model."
        )
