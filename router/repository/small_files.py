"""Selects the small files that an engine opens: configuration, tokenizer, templates and code.

SGLang and transformers open files with known names. Nothing else in a repository (training
logs, data cards, evaluations) is downloaded, so no engine can open it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from router.errors import UnsupportedModel
from router.repository.adapters import ADAPTER_CONFIG
from router.repository.files import RemoteFile
from router.repository.listing import Listing

MODULES = "modules.json"
MAX_SMALL_BYTES = 512 << 20  # in total; the largest tokenizers have 40 MB, indexes 10 MB
MAX_BESIDE_CODE = 1 << 20  # bytes of one file that only the repository's own code can open

# Values in these files determine what an engine loads. `check_config` reads each of them.
_CONFIGURATION = re.compile(
    r"config(\.[\w.]+)?\.json"  # with a version: `config.4.0.0.json`
    r"|(generation|tokenizer|processor|preprocessor|video_preprocessor|image_preprocessor"
    r"|audio_tokenizer|adapter|decision|joint_head|sparse_attention)_config\.json"
    r"|.*(quant|quantize|quantization)_config\.json"
    r"|modules\.json|params\.json|config_sentence_transformers\.json|sentence_\w+_config\.json"
    r"|image_detail\.json"
)
_TOKENIZER = re.compile(
    r"tokenizer[\w.-]*\.json|.*vocab[\w.-]*\.(json|txt)|merges[\w.-]*\.txt|added_tokens\.json"
    r"|special_tokens_map\.json|tekken\.json|normalizer\.json|emoji\.json|byte_maps\.json"
    r"|word_(shape|pronunciation)\.json|dict\.txt|SYSTEM_PROMPT\.txt"
    r"|chat_template[\w.-]*\.json|.*\.(model(\.v\w+)?|tiktoken|spm|bpe|vocab|codes|tokenizer|jinja)"
)
_BESIDE_CODE = re.compile(r".*\.(json|txt)")
_INDEX = re.compile(r".*\.index(\.\w+)?\.json")
# Folders whose files SGLang opens by name. `modules.json` names others.
_FOLDERS = frozenset({"audio_tokenizer", "additional_chat_templates"})
_MAX_NAME = 96  # characters; longer names are not opened
# How sentence-transformers numbers the folders of a model's modules.
_MODULE = re.compile(r"\d+_\w+")


def is_configuration(name: str) -> bool:
    """Whether an engine reads settings from a file of this name, in any folder."""
    return bool(_CONFIGURATION.fullmatch(name.rpartition("/")[2]))


def small_files(listing: Listing, index: str | None) -> list[RemoteFile]:
    """The files to read before the weights are chosen. `index`: the name of the weight index,
    if any.

    Raises `UnsupportedModel` if they are too large.
    """
    has_code = bool(listing.top(end=".py"))
    chosen = [
        file
        for name, file in listing.files.items()
        if name == index
        or _is_opened(name)
        or (has_code and _beside_code(name) and file.size <= MAX_BESIDE_CODE)
    ]
    return bounded(chosen)


def module_files(listing: Listing, folders: Iterable[str]) -> list[RemoteFile]:
    """The small files in the folders that `modules.json` names."""
    inside = tuple(f"{folder}/" for folder in folders)
    return bounded(
        file
        for name, file in listing.files.items()
        if name.startswith(inside) and is_configuration(name)
    )


def bounded(files: Iterable[RemoteFile]) -> list[RemoteFile]:
    chosen = list(files)
    if sum(file.size for file in chosen) > MAX_SMALL_BYTES:
        raise UnsupportedModel(
            f"The model's configuration and tokenizer have more than {MAX_SMALL_BYTES:,} bytes."
        )
    return chosen


def _is_opened(name: str) -> bool:
    folder, _, last = name.rpartition("/")
    if len(last) > _MAX_NAME:
        return False
    if not folder and last == ADAPTER_CONFIG:
        return False  # of an adapter beside a whole model
    if not folder:
        known = _CONFIGURATION.fullmatch(last) or _TOKENIZER.fullmatch(last)
        return bool(known) or last.endswith(".py")
    if folder in _FOLDERS or _MODULE.fullmatch(folder):
        return bool(_CONFIGURATION.fullmatch(last) or last.endswith(".jinja"))
    return False


def _beside_code(name: str) -> bool:
    return "/" not in name and bool(_BESIDE_CODE.fullmatch(name)) and not _INDEX.fullmatch(name)
