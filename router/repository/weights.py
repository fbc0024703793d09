"""Which files of weights an engine loads, as SGLang 0.5.23 does.

Its loader reads the files beside `config.json` that the index names; without an index, all of
one format. Of what it would read twice (an fp32 copy, shards beside a whole file), one copy is
chosen. Some architectures open further files by name.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from router.errors import UnsupportedModel
from router.repository.adapters import ADAPTER
from router.repository.listing import Listing

SAFE = ".safetensors"
# Pickles run code when they are loaded, so the operator has to allow them.
UNSAFE = ".bin"

# SGLang loads `consolidated*` for paths that hold these, if `params.json` is there.
_MISTRAL = ("mistral-large-3", "mistral-small-4", "leanstral")
# SGLang skips the first two; the others are a trainer's as well.
_TRAINING = ("training_args.bin", "optimizer.bin", "scheduler.bin", "scaler.bin")
_MAX_NAMED = 3  # files in a message

_GLM = frozenset(
    {"Glm4MoeForCausalLM", "Glm4MoeForCausalLMNextN"}
    | {"Glm4MoeLiteForCausalLM", "Glm4MoeLiteForCausalLMNextN"}
)
# Architectures whose weights lie in folders.
_IN_FOLDERS = {
    "Cosmos3ForConditionalGeneration": ("transformer/*", "vision_encoder/*"),
    "Cosmos3EdgeForConditionalGeneration": ("[tv]*er/*",),
}
# What else an architecture opens, if the repository has the second file.
_BY_NAME = (
    ("Qwen3_5Model", "readout.safetensors", "decision_config.json"),
    ("Qwen3_5ForConditionalGeneration", "joint_head.safetensors", "joint_head_config.json"),
    *(
        (each, "audio_tokenizer/model.safetensors", "audio_tokenizer/config.json")
        for each in ("MiMoV2ForCausalLM", "MiMoV2FlashForCausalLM", "MiMoV2ASRForCausalLM")
    ),
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a repository's small files say about its weights."""

    architectures: tuple[str, ...] = ()
    next_token_layers: int = 0  # `num_nextn_predict_layers`
    module_folders: tuple[str, ...] = ()  # that `modules.json` names
    indexed: frozenset[str] | None = None  # files that the index names; None without an index


def loads_consolidated(listing: Listing, repo_id: str) -> bool:
    """Whether SGLang loads Mistral's own format. It decides by the path of the snapshot,
    which holds the repository's name."""
    if "params.json" in listing and any(name in repo_id.lower() for name in _MISTRAL):
        return True
    return bool(listing.top("consolidated", SAFE)) and not listing.top("model", SAFE)


def index_name(listing: Listing, repo_id: str) -> str | None:
    """The index that SGLang reads, if the repository has it."""
    stem = "consolidated" if loads_consolidated(listing, repo_id) else "model"
    name = f"{stem}{SAFE}.index.json"
    return name if name in listing else None


def choose_weights(
    listing: Listing, facts: Facts, repo_id: str, *, unsafe_weights: bool
) -> list[str]:
    """The names of all files of weights; none where the repository has none to load.

    Raises `UnsupportedModel` if a file that the index names, or a shard, is missing.
    """
    if facts.indexed is not None:
        main = _indexed(listing, facts.indexed, _folders(facts))
    elif folders := _folders(facts):
        main = _matching(listing.files, folders)
    elif loads_consolidated(listing, repo_id):
        main = _one_copy(listing, "consolidated", SAFE)
    else:
        main = _without_index(listing, unsafe_weights=unsafe_weights)
    return list(dict.fromkeys(main + _further(listing, facts))) if main else []


def _folders(facts: Facts) -> tuple[str, ...]:
    return next((_IN_FOLDERS[each] for each in facts.architectures if each in _IN_FOLDERS), ())


def _matching(names: Iterable[str], patterns: Collection[str]) -> list[str]:
    return sorted(
        name
        for name in names
        if name.endswith(SAFE) and any(fnmatchcase(name, pattern) for pattern in patterns)
    )


def _indexed(listing: Listing, indexed: frozenset[str], folders: Collection[str]) -> list[str]:
    if folders:
        return _matching(indexed & listing.files.keys(), folders)
    if missing := sorted(indexed - listing.files.keys()):
        raise UnsupportedModel(
            f"The index of the model's weights names {_some(missing)}, which the repository "
            "does not have. Ask its owner to complete it."
        )
    beside = [name for name in indexed if "/" not in name]  # the loader looks only there
    return sorted(indexed) if beside else []


def _without_index(listing: Listing, *, unsafe_weights: bool) -> list[str]:
    safe = [
        name for name in listing.top(end=SAFE) if not name.startswith((ADAPTER, "consolidated"))
    ]
    if safe:
        return _one_copy(listing, "model", SAFE) or safe
    if not unsafe_weights:
        return []
    return _one_copy(listing, "pytorch_model", UNSAFE) or [
        name
        for name in listing.top(end=UNSAFE)
        if not name.startswith(ADAPTER) and name not in _TRAINING
    ]


def _one_copy(listing: Listing, stem: str, suffix: str) -> list[str]:
    """Of the files that begin with `stem`, those that hold each weight once."""
    names = listing.top(stem, suffix)
    if stem + suffix in names:
        return [stem + suffix]
    shard = re.compile(rf"{stem}-(\d+)-of-(\d+){re.escape(suffix)}")
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        if found := shard.fullmatch(name):
            groups[found[2]].append(name)
    whole = [group for count, group in groups.items() if len(group) == int(count)]
    if whole:
        return min(whole, key=lambda group: sum(listing.files[name].size for name in group))
    if groups:
        raise UnsupportedModel(
            f"The repository lacks some of its weights: {_some(names)} are there, of "
            f"{int(max(groups)):,} files. Ask its owner to complete it."
        )
    return [name for name in names if "fp32" not in name] or names


def _further(listing: Listing, facts: Facts) -> list[str]:
    found = [f"{folder}/model{SAFE}" for folder in facts.module_folders]
    if _GLM & set(facts.architectures) and facts.next_token_layers > 0:
        found.append(f"mtp{SAFE}")
    found += [
        name
        for architecture, name, needs in _BY_NAME
        if architecture in facts.architectures and needs in listing
    ]
    return [name for name in found if name in listing]


def _some(names: list[str]) -> str:
    more = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {more:,} more" if more > 0 else "")
