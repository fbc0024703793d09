"""Chooses the weight files that SGLang 0.5.23 loads.

Its loader reads the files beside `config.json` that the index names or, without an index, all
of one format. If that contains duplicates (an fp32 copy, shards beside a whole file), one copy
is chosen (`copies`). Some architectures open further files by name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from router.repository.copies import LEAST_SHARE, MissingWeights, one_copy, some
from router.repository.files import RemoteFile
from router.repository.listing import Listing
from router.repository.weight_names import SAFE, UNSAFE, is_of_adapter, weights_at_top

# SGLang loads `consolidated*` if the path contains one of these and `params.json` exists.
_MISTRAL = ("mistral-large-3", "mistral-small-4", "leanstral")
_INDEX = f"{SAFE}.index.json"

_GLM = frozenset(
    {"Glm4MoeForCausalLM", "Glm4MoeForCausalLMNextN"}
    | {"Glm4MoeLiteForCausalLM", "Glm4MoeLiteForCausalLMNextN"}
)
# Architectures whose weights are in folders.
_IN_FOLDERS = {
    "Cosmos3ForConditionalGeneration": ("transformer/*", "vision_encoder/*"),
    "Cosmos3EdgeForConditionalGeneration": ("[tv]*er/*",),
}
# Further files that an architecture opens, if the repository has the second file.
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
    least_bytes: int = 0  # of the weights that the configuration describes; 0: unknown


def loads_consolidated(listing: Listing, repo_id: str) -> bool:
    """Whether SGLang loads Mistral's own format. It decides by the path of the snapshot, which
    contains the repository's name."""
    if "params.json" in listing and any(name in repo_id.lower() for name in _MISTRAL):
        return True
    return bool(listing.top("consolidated", SAFE)) and not listing.top("model", SAFE)


def index_name(listing: Listing, repo_id: str) -> str | None:
    """The index that SGLang reads, if the repository has it."""
    stem = "consolidated" if loads_consolidated(listing, repo_id) else "model"
    name = stem + _INDEX
    return name if name in listing else None


def choose_weights(
    listing: Listing, facts: Facts, repo_id: str, *, unsafe_weights: bool
) -> list[str]:
    """The names of all weight files; [] if the repository has none that can be loaded.

    Raises `MissingWeights` if a file that the index names, or a shard, is missing.
    """
    if facts.indexed is not None:
        main = _indexed(listing, facts.indexed, _folders(facts))
    elif folders := _folders(facts):
        main = _matching(listing.files, folders)
    elif loads_consolidated(listing, repo_id):
        main = one_copy(listing.take(listing.top("consolidated", SAFE)), SAFE)
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
        raise MissingWeights(
            f"The index of the model's weights names {some(missing)}, which the repository "
            "does not have. Ask its owner to complete it."
        )
    beside = [name for name in indexed if "/" not in name]  # the loader looks only there
    return sorted(indexed) if beside else []


def _without_index(listing: Listing, *, unsafe_weights: bool) -> list[str]:
    safe = [
        file for file in _of_model(listing, SAFE) if not file.name.startswith("consolidated")
    ]
    pickles = _of_model(listing, UNSAFE)
    if safe and not _is_beside(safe, pickles):
        indexed = [name.removesuffix(_INDEX) for name in listing.top(end=_INDEX)]
        return one_copy(safe, SAFE, indexed)
    return one_copy(pickles, UNSAFE) if unsafe_weights else []


def _is_beside(safe: list[RemoteFile], pickles: list[RemoteFile]) -> bool:
    """Whether a small safetensors file (such as a value head) is beside a model in pickles.
    SGLang would load it in place of the model."""
    if any(file.name.startswith("model") for file in safe):
        return False
    whole = sum(file.size for file in pickles if file.name.startswith("pytorch_model"))
    return sum(file.size for file in safe) * LEAST_SHARE < whole


def _of_model(listing: Listing, suffix: str) -> list[RemoteFile]:
    names = weights_at_top(listing, suffix)
    return listing.take(name for name in names if not is_of_adapter(name))


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
