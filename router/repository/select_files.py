"""Selects the files of a repository that an engine needs.

This takes two steps, because the small files determine the weights: the index, the architecture
and the modules.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from router.errors import UnsupportedModel
from router.repository.adapters import ADAPTER_CONFIG, is_adapter_alone, is_part
from router.repository.copies import MissingWeights
from router.repository.files import RemoteFile
from router.repository.listing import Listing
from router.repository.small_files import module_files, small_files
from router.repository.weight_names import SAFE, UNSAFE
from router.repository.weights import Facts, choose_weights, index_name

_OTHER_WEIGHTS = (".pt", ".pth", ".ckpt", ".gguf", ".onnx", ".h5", ".msgpack", ".npz")
_MAX_FOLDERS = 5  # in a message


@dataclass(frozen=True, slots=True)
class Selection:
    """The files to download from one repository."""

    listing: Listing
    repo_id: str
    unsafe_weights: bool

    @property
    def is_adapter_alone(self) -> bool:
        return is_adapter_alone(self.listing)

    @property
    def _has_configuration(self) -> bool:
        return "config.json" in self.listing

    @property
    def index(self) -> str | None:
        """The name of the weight index that SGLang reads, if there is one."""
        return index_name(self.listing, self.repo_id)

    def small(self) -> list[RemoteFile]:
        """The files to read first. Raises `UnsupportedModel` if they are too large."""
        if self.is_adapter_alone:
            return self.of_adapter()
        return small_files(self.listing, self.index)

    def of_adapter(self) -> list[RemoteFile]:
        """The file that names an adapter's base model."""
        return self.listing.take({ADAPTER_CONFIG} & self.listing.files.keys())

    def is_adapter(self, facts: Facts, weights: Iterable[RemoteFile]) -> bool:
        """Whether the chosen weights belong only to an adapter."""
        return is_part(self.listing, weights, facts.least_bytes)

    def of_modules(self, facts: Facts) -> list[RemoteFile]:
        """The configuration of modules. It may already be among the small files."""
        return module_files(self.listing, facts.module_folders)

    def likely_weights(self) -> list[RemoteFile]:
        """The probable result of `weights`, from the file names alone. Without an index, it
        contains at least that result. Raises `UnsupportedModel` if the names show that there
        are no weights.
        """
        try:
            return self.weights(Facts())
        except UnsupportedModel:
            if any(name.endswith(SAFE) for name in self.listing.files) and (
                self.index is not None or self._has_configuration
            ):
                return []  # the index, or the architecture, decides
            raise

    def weights(self, facts: Facts) -> list[RemoteFile]:
        """The weights. Raises `UnsupportedModel` if some or all are missing."""
        names = choose_weights(
            self.listing, facts, self.repo_id, unsafe_weights=self.unsafe_weights
        )
        if not names or ("model_index.json" in self.listing and not self._has_configuration):
            raise _reason(self.listing)
        return self.listing.take(names)


def _reason(listing: Listing) -> UnsupportedModel:
    if "model_index.json" in listing:
        return UnsupportedModel(
            "The repository holds a pipeline of several models (diffusion), and this worker "
            "serves language models. Ask for another model."
        )
    beside = _formats(listing.top()) - {SAFE}
    folders = sorted(
        {name.split("/")[0] for name in listing.files if name.endswith(SAFE) and "/" in name}
    )
    if folders and not beside:
        named = ", ".join(folders[:_MAX_FOLDERS])
        return UnsupportedModel(
            f"The repository holds weights only in folders ({named}), and none beside "
            "its config.json. Ask for a repository that has them there."
        )
    if formats := sorted(beside or _formats(listing.files)):
        return UnsupportedModel(
            f"The repository holds weights only as {', '.join(formats)}; this worker loads "
            "safetensors. Ask its owner for a conversion."
        )
    return MissingWeights("The repository holds no weights.")


def _formats(names: Iterable[str]) -> set[str]:
    suffixes = {PurePosixPath(name).suffix for name in names}
    return suffixes & {SAFE, UNSAFE, *_OTHER_WEIGHTS}
