"""Refuses a model whose tokenizer can't work: it has no vocabulary, needs its own code, or
needs packages that the engines' Python lacks."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from router.errors import UnsupportedModel
from router.repository import architectures as sglang
from router.repository.conditions import Conditions
from router.repository.own_code import ASK_FOR_TRUST, code_for
from router.repository.read_json import shown

Json = Mapping[str, Any]

# Vocabulary files, by the names that transformers and SGLang look for.
_VOCABULARY = re.compile(
    r"tokenizer[\w.-]*\.(json|model)|tekken\.json|.*\.(model(\.v\w+)?|tiktoken|spm|bpe|codes|tokenizer)"
    r"|.*vocab[\w.-]*|merges[\w.-]*\.txt|dict\.txt|byte_maps\.json"
)
_NO_VOCABULARY = frozenset({"tokenizer_config.json"})
# These tokenize bytes or characters.
_NEEDS_NONE = ("ByT5", "Canine", "Perceiver", "MyT5", "Character")
# Models with other inputs than text get their tokenizer from a processor.
_PROCESSORS = frozenset({"processor_config.json", "preprocessor_config.json"})

# Packages that tokenizers import but transformers does not require. Any package of a row is
# enough.
_MOSES = (("sacremoses",),)
_JIEBA = (("rjieba", "jieba"),)
_CLASSES = {
    "XLM": _MOSES,
    "Flaubert": _MOSES,
    "BioGpt": _MOSES,
    "FSMT": _MOSES,
    "Cpm": _JIEBA,
    "CpmAnt": _JIEBA,
    "RoFormer": _JIEBA,
}
# The tokenizer of a model type, if no configuration names one.
_BY_MODEL = {
    **{name.lower(): name for name in ("XLM", "Flaubert", "BioGpt", "FSMT", "CpmAnt")},
    "roformer": "RoFormer",
}
_SPLITTERS = {"mecab": "fugashi", "sudachi": "sudachipy", "jumanpp": "rhoknp"}
_DICTIONARIES = frozenset({"ipadic", "unidic_lite", "unidic"})
# SentencePiece files. transformers converts one with `protobuf`. If that fails, it reads the
# file as a tiktoken vocabulary.
_PIECES = re.compile(r".*\.(model|spm)")
# These read it without a conversion.
_READ_PIECES = frozenset(
    {"BertGeneration", "M2M100", "Marian", "SpeechT5", "Speech2Text", "MLuke", "Siglip"}
    | {"GPTSw3", "Bartpho", "PLBart", "Tipsv2", "Cpm", "BertJapanese"}
)

PACKAGES = (
    *(
        "sacremoses",
        "rjieba",
        "jieba",
        "fugashi",
        "ipadic",
        "unidic_lite",
        "unidic",
        "sudachipy",
    ),
    *("rhoknp", "sentencepiece", "google.protobuf", "tiktoken", "mistral_common"),
)
"""Packages that a tokenizer may need in the engines' Python, by import name."""

_ON_PYPI = {"google.protobuf": "protobuf", "unidic_lite": "unidic-lite"}


def check_tokenizer(
    tokenizer: Json, config: Json, files: Collection[str], on: Conditions
) -> None:
    """Raises `UnsupportedModel`.

    `tokenizer` and `config`: of tokenizer_config.json and config.json. `files`: the names of
    the top-level files.
    """
    if on.sets("--skip-tokenizer-init", "--tokenizer-path", "--load-format"):
        return
    own_code = code_for(tokenizer, "AutoTokenizer")
    if own_code and on.trusted:
        return
    _check_vocabulary(tokenizer, files)
    if own_code:
        _check_own_code(tokenizer, config, files, on)
    _check_packages(tokenizer, config, files, on)


def _check_vocabulary(tokenizer: Json, files: Collection[str]) -> None:
    if any(_VOCABULARY.fullmatch(name) for name in {*files} - _NO_VOCABULARY):
        return
    if not _named(tokenizer).startswith(_NEEDS_NONE):
        raise UnsupportedModel(
            "The repository has no tokenizer (tokenizer.json, tokenizer.model, vocab.json "
            "and the like), so SGLang can't read text for it. Ask its owner to add one."
        )


def _check_own_code(
    tokenizer: Json, config: Json, files: Collection[str], on: Conditions
) -> None:
    if not on.plain or not {*files}.isdisjoint({*_PROCESSORS, "tekken.json"}):
        return
    if not sglang.has_tokenizer_code(config.get("model_type"), _named(tokenizer)):
        raise UnsupportedModel(f"The model's tokenizer needs code of its own. {ASK_FOR_TRUST}")


def _check_packages(
    tokenizer: Json, config: Json, files: Collection[str], on: Conditions
) -> None:
    for any_of in _needed(tokenizer, config, files):
        if {*any_of} <= {*on.lacks}:
            package = _ON_PYPI.get(any_of[0], any_of[0])
            raise UnsupportedModel(
                f"The model's tokenizer needs the Python package {shown(package)}, which this "
                "worker's engines do not have. Use another model, or ask the operator to "
                "install it for the engines."
            )


def _needed(tokenizer: Json, config: Json, files: Collection[str]) -> Iterator[tuple[str, ...]]:
    """The required packages; any package of each group is enough."""
    name = _named(tokenizer).removesuffix("Fast").removesuffix("Tokenizer")
    kind = config.get("model_type")
    name = name or (_BY_MODEL.get(kind, "") if isinstance(kind, str) else "")
    yield from _CLASSES.get(name, ())
    if name == "BertJapanese":
        yield from _japanese(tokenizer)
    if "tokenizer.json" in files:
        return
    if "tekken.json" in files:
        yield ("mistral_common",)
    elif any(map(_PIECES.fullmatch, files)) and not code_for(tokenizer, "AutoTokenizer"):
        yield ("sentencepiece",) if name in _READ_PIECES else ("google.protobuf", "tiktoken")


def _japanese(tokenizer: Json) -> Iterator[tuple[str, ...]]:
    """The packages that split a Japanese text into words."""
    if not tokenizer.get("do_word_tokenize", True):
        return
    kind = tokenizer.get("word_tokenizer_type")
    if isinstance(kind, str) and kind in _SPLITTERS:
        yield (_SPLITTERS[kind],)
    options = tokenizer.get("mecab_kwargs")
    dictionary = options.get("mecab_dic") if isinstance(options, dict) else None
    if kind == "mecab" and isinstance(dictionary, str) and dictionary in _DICTIONARIES:
        yield (dictionary,)


def _named(tokenizer: Json) -> str:
    named = tokenizer.get("tokenizer_class")
    return named if isinstance(named, str) else ""
