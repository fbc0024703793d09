"""Asks SGLang's own loader which files of a directory it would load. SGLang's interpreter runs
it.

Standard input: JSON, a list of `{"directory", "config"}`. The last line of standard output: for
each, the names of the files, or the error.
"""

from __future__ import annotations

import json
import os
import sys
from types import SimpleNamespace
from typing import Any

from sglang.srt.arg_groups.model_path_hook import is_mistral_native_format
from sglang.srt.configs.load_config import LoadConfig
from sglang.srt.model_loader import loader
from sglang.srt.models.cosmos3 import Cosmos3ForConditionalGeneration

INDEX = "model.safetensors.index.json"
# The patterns that an architecture's own class uses if its weights are in folders.
PATTERNS = {
    "Cosmos3ForConditionalGeneration": (
        Cosmos3ForConditionalGeneration.allow_patterns_overrides,
        ["vision_encoder/*.safetensors"],
    )
}


def main() -> None:
    loader.get_server_args = lambda: None  # no checksums were asked for
    answers: list[list[str] | str] = []
    for question in json.load(sys.stdin):
        try:
            answers.append(loaded(**question))
        except (RuntimeError, ValueError, KeyError) as error:
            answers.append(str(error))
    print(f"\n{json.dumps(answers)}")


def loaded(directory: str, config: dict[str, Any]) -> list[str]:
    native = is_mistral_native_format(SimpleNamespace(model_path=directory, revision=None))
    reader = loader.DefaultModelLoader(LoadConfig(load_format="mistral" if native else "auto"))
    architecture = config.get("architectures", [None])[0]
    files: list[str] = []
    for patterns in PATTERNS.get(architecture, (None,)):
        _, found, _ = reader._prepare_weights(directory, None, True, patterns)
        files += found
    known = SimpleNamespace(**{"architectures": [None], **config})
    files = loader.maybe_add_mtp_safetensors(files, directory, INDEX, known)
    return [os.path.relpath(file, directory) for file in files]


if __name__ == "__main__":
    main()
