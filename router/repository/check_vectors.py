"""Refuses a model whose embeddings or scores SGLang would compute incorrectly.

SGLang 0.5.23 ignores the files in which sentence-transformers describes how to pool the vectors
of a text's tokens. Its pooling depends only on the architecture, except that `engines/pooling`
adds mean pooling to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from router.errors import UnsupportedModel
from router.models import Task
from router.repository.architectures import identify, lookup, named
from router.repository.model_config import model_config, readable
from router.repository.read_json import printable

_FIRST, _MEAN, _LAST = "cls_token", "mean_tokens", "lasttoken"
_SHORT = {"cls": _FIRST, "mean": _MEAN}  # abbreviations of sentence-transformers 5
_IN_WORDS = {
    _FIRST: "the first token",
    _MEAN: "the mean of all tokens",
    _LAST: "the last token",
}
_POOLS = {
    "BertModel": {_FIRST, _MEAN},  # the mean with `engines/pooling`
    "XLMRobertaModel": {_FIRST, _MEAN},
    "Contriever": {_MEAN},
    "Lfm2BidirectionalModel": {_FIRST},
    "EmbeddingGemmaModel": {_MEAN},
    "EmbeddingGemma2Model": {_MEAN},
}
_MEANS_BY_ITSELF = frozenset({"EmbeddingGemmaModel", "EmbeddingGemma2Model"})
# It projects the pooled vector, as its files say.
_PROJECTS = frozenset({"EmbeddingGemmaModel"})
_MODULES = frozenset({"Transformer", "Pooling", "Normalize"})
_FOLDER = re.compile(r"[\w-]{1,64}")

_CLASSIFIES = re.compile(r"(?i).*(classification|rewardmodel)")
_EMBEDS = re.compile(r".*(?<!LMHead)(?<!Chat)Model|.*ForMaskedLM|.*ForPreTraining")

Json = Mapping[str, Any]


def check_vectors(snapshot: Path) -> None:
    """Raises `UnsupportedModel`. Reads configuration only."""
    modules = _modules(snapshot)
    kinds = [_kind(one) for one in modules]
    reason = why_wrong(model_config(snapshot), kinds, _pooling(snapshot, modules))
    if reason is not None:
        raise UnsupportedModel(f"{reason} Use a model of another kind.")


def pools_mean(snapshot: Path) -> bool:
    """Whether the model needs `engines/pooling`, because SGLang would use the first token."""
    name = _architecture(model_config(snapshot))
    if not _POOLS.get(name, set()) & {_FIRST, _MEAN} or name in _MEANS_BY_ITSELF:
        return False
    pooling = _pooling(snapshot, _modules(snapshot))
    return name == "Contriever" or [*map(_modes, pooling)] == [{_MEAN}]


def _modules(snapshot: Path) -> list[Json]:
    modules = readable(snapshot / "modules.json")
    return (
        [one for one in modules if isinstance(one, dict)] if isinstance(modules, list) else []
    )


def _pooling(snapshot: Path, modules: list[Json]) -> list[object]:
    return [
        readable(snapshot / folder / "config.json")
        for one in modules
        if _kind(one) == "Pooling" and _FOLDER.fullmatch(folder := str(one.get("path")))
    ]


def why_wrong(config: Json, modules: Iterable[str], pooling: Iterable[object]) -> str | None:
    """Describe what SGLang would compute incorrectly; None: nothing is known.

    `modules`: the kinds of modules that sentence-transformers would chain. `pooling`: the
    configurations of the pooling modules.
    """
    modules = [*modules]
    name = _architecture(config)
    found = lookup(name)
    if found is None:
        if identify((name,), config) is not None:
            return f"SGLang has no code of its own for the encoder {_shown(name)}."
        return _why_unknown(name, modules, pooling)
    if found.task is Task.CLASSIFY or name == "CLIPModel":
        return None
    if "Pooling" not in modules:
        # It gives a vector per token (ColBERT), or one per word of the vocabulary (SPLADE).
        steps = any(kind == "Dense" or kind.endswith("Pooling") for kind in modules)
        return _why_chained(name, modules) if steps else None
    if config.get("is_causal") is False and not found.bidirectional:
        return f"SGLang runs a {name} from left to right, and this one looks both ways."
    return _why_chained(name, modules) or _why_pooled(name, pooling)


def _why_chained(name: str, modules: list[str]) -> str | None:
    further = [kind for kind in modules if kind not in _MODULES]
    if further and not (name in _PROJECTS and set(further) == {"Dense"}):
        return f"SGLang leaves out the model's last step, `{_shown(further[0])}`."
    return None


def _why_unknown(name: str, modules: list[str], pooling: Iterable[object]) -> str | None:
    """SGLang uses transformers' code without the model's head, and pools the last token."""
    if _CLASSIFIES.fullmatch(name):
        return f"SGLang does not support the architecture {_shown(name)}."
    if _EMBEDS.fullmatch(name) or (name and "Pooling" in modules):
        modes = set().union(*map(_modes, pooling))
        if modes != {_LAST} or any(kind not in _MODULES for kind in modules):
            return f"SGLang does not support embeddings of the architecture {_shown(name)}."
    return None


def _why_pooled(name: str, pooling: Iterable[object]) -> str | None:
    taken = _POOLS.get(name, {_LAST})
    for meant in map(_modes, pooling):
        if len(meant) != 1 or not meant <= taken:
            words = " and ".join(_IN_WORDS.get(mode, _shown(mode)) for mode in sorted(meant))
            can = " or ".join(_IN_WORDS[mode] for mode in sorted(taken))
            return (
                f"The model's vectors are made of {words}, and SGLang takes {can} of a {name}."
            )
    return None


def _modes(pooling: object) -> set[str]:
    if not isinstance(pooling, dict):
        return {_MEAN}  # the default of sentence-transformers
    named = pooling.get("pooling_mode")
    if isinstance(named, str):
        return {_SHORT.get(named, named)}
    return set(_switched_on(pooling)) or {_MEAN}


def _switched_on(pooling: Mapping[str, object]) -> Iterator[str]:
    for key, value in pooling.items():
        if value is True and key.startswith("pooling_mode_"):
            yield key.removeprefix("pooling_mode_")


def _shown(name: str) -> str:
    return printable(name[:64])


def _kind(module: Json) -> str:
    return str(module.get("type")).rpartition(".")[2]


def _architecture(config: Json) -> str:
    """The first architecture that SGLang has, else the first one."""
    names = named(config)
    if config.get("model_type") == "gemma3_text" and config.get("use_bidirectional_attention"):
        return "EmbeddingGemmaModel"
    return next((one for one in names if lookup(one) is not None), "".join(names[:1]))
