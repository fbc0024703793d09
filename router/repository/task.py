"""Determines the task of a repository from its architectures and its sentence-transformers
files.

SGLang's own lists come first: an architecture that only embeds or classifies has no other task.
For a model that could generate, those files decide. Most of them only need to exist; the few
that must be read are small. Without such files, the owner's pipeline tag decides, and then the
repository's name: Qwen3-VL-Embedding has nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from router.models import Task
from router.repository.architectures import lookup

MODULES = "modules.json"
SENTENCES = "config_sentence_transformers.json"

# Each module has a folder, named by its position in the chain.
_POOLS = re.compile(r"[0-9]{1,2}_(?:\w*Pooling|Normalize)/")
_RERANKS = re.compile(r"[0-9]{1,2}_LogitScore/")

# SGLang's own rule for an architecture that it loads with transformers' code.
_CLASSIFIES = re.compile(r"(?i)sequenceclassification|rewardmodel|fortokenclassification")
# A model without a head, or with one that predicts masked words.
_EMBEDS = re.compile(r".*(?<!LMHead)(?<!Chat)Model|.*ForMaskedLM|.*ForPreTraining")
# Pipeline tags of embedding models, and of models that generate.
_EMBEDDERS = frozenset({"sentence-similarity", "feature-extraction"})
_GENERATORS = frozenset(
    {"text-generation", "image-text-to-text", "any-to-any", "visual-question-answering"}
    | {"video-text-to-text", "audio-text-to-text", "text2text-generation", "text-ranking"}
)
# As a separate word, and not in `embedded`.
_NAMED_EMBEDDER = re.compile(r"(?i)(?<![a-z])embed(ding|der)?s?(?![a-z])")
_NAMED_RERANKER = re.compile(r"(?i)(?<![a-z])re-?rank(ing|er)?s?(?![a-z])")
# With this file, SGLang replaces the head by a readout, and generates.
_READOUT = ("Qwen3_5Model", "decision_config.json")
_TELLING = frozenset({MODULES, SENTENCES, _READOUT[1]})


@dataclass(frozen=True)
class Signs:
    """The known signs of a repository's task.

    * `files`: its file names, or only those at the top and in the folders of modules.
    * `contents`: the parsed `MODULES` and `SENTENCES`, if they were read; None for one that
      could not be read.
    * `name`: of the repository, or of the directory.
    * `purpose`: its pipeline tag, if its owner has chosen one. (The Hub derives
      `feature-extraction` for any model whose own code has an `AutoModel`.)
    """

    architectures: tuple[str, ...]
    files: Collection[str]
    contents: Mapping[str, object] = field(default_factory=dict)
    name: str = ""
    purpose: str | None = None

    @cached_property
    def has_pooling(self) -> bool:
        return any(map(_POOLS.match, self.files))

    @cached_property
    def has_logit_score(self) -> bool:
        return any(map(_RERANKS.match, self.files))


def task_of(signs: Signs) -> Task:
    """The task. An unreadable file counts by its presence: an embedding model has it."""
    decided = _by_architecture(signs)
    if decided is not None:
        return decided
    if _reranks(signs):
        # SGLang reads the probability of a decoder's next token.
        return Task.GENERATE
    if signs.has_pooling or MODULES in signs.files or SENTENCES in signs.files:
        return Task.EMBED
    return Task.EMBED if _is_said_to_embed(signs) else Task.GENERATE


def _is_said_to_embed(signs: Signs) -> bool:
    if signs.purpose in _EMBEDDERS or signs.purpose in _GENERATORS:
        return signs.purpose in _EMBEDDERS
    named = bool(_NAMED_EMBEDDER.search(signs.name))
    return named and not _NAMED_RERANKER.search(signs.name)


def telling(names: Iterable[object]) -> frozenset[str]:
    """The file names that `Signs` needs. The result is short, even for many names."""
    found: set[str] = set()
    for name in names:
        if isinstance(name, str):
            if name in _TELLING:
                found.add(name)
            elif folder := _POOLS.match(name) or _RERANKS.match(name):
                found.add(folder[0])
    return frozenset(found)


def unread(signs: Signs) -> str | None:
    """The next file whose content could change the task; None: there is none."""
    if _by_architecture(signs) is not None:
        return None
    if signs.has_pooling or _reranks(signs) or _pools(signs):
        return None
    left = (name for name in (MODULES, SENTENCES) if name in signs.files)
    return next((name for name in left if name not in signs.contents), None)


def _by_architecture(signs: Signs) -> Task | None:
    """None: it could generate, or it is unknown."""
    names = signs.architectures
    if names[:1] == _READOUT[:1] and _READOUT[1] in signs.files:
        return Task.GENERATE
    for name in names:
        if (found := lookup(name)) is not None:
            if found.transcribes:
                return Task.TRANSCRIBE
            return None if found.task is Task.GENERATE else found.task
    for name in names:
        if _CLASSIFIES.search(name):
            return Task.CLASSIFY
        if _EMBEDS.fullmatch(name):
            return Task.EMBED
    return None


def _reranks(signs: Signs) -> bool:
    sentences = signs.contents.get(SENTENCES)
    return (
        signs.has_logit_score
        or any(".cross_encoder." in each for each in _types(signs))
        or (isinstance(sentences, dict) and sentences.get("model_type") == "CrossEncoder")
    )


def _pools(signs: Signs) -> bool:
    return any(each.endswith(("Pooling", ".Normalize")) for each in _types(signs))


def _types(signs: Signs) -> Iterator[str]:
    """The classes that sentence-transformers would chain."""
    modules = signs.contents.get(MODULES)
    for module in modules if isinstance(modules, list) else ():
        if isinstance(module, dict) and isinstance(module.get("type"), str):
            yield module["type"]
