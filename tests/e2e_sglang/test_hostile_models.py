from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import aiohttp
import pytest

from tests import tiny_models
from tests.e2e_sglang.harness import Harness
from tests.worker import ROOT

pytestmark = pytest.mark.sglang


async def test_a_strangers_model_does_not_run_its_own_code(
    harness: Harness, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """If SGLang has no code for an architecture, it imports the repository's code, trusted or
    not, even if transformers has its own."""
    ran = tmp_path / "ran"
    model = tiny_models.make(tmp_path, "worm")
    code = f"open({str(ran)!r}, 'w').close()\n"
    for name in ("AutoModel", "AutoModelForCausalLM", "AutoConfig", "AutoTokenizer"):
        code += f"class {name}: pass\n"
    (model / "worm.py").write_text(code)
    for file in ("config.json", "tokenizer_config.json"):
        content = json.loads((model / file).read_text())
        content["auto_map"] = {
            "AutoModel": "worm.AutoModel",
            "AutoModelForCausalLM": "worm.AutoModelForCausalLM",
        }
        if file == "config.json":
            content["architectures"] = ["SmolLM3ForCausalLM"]
        (model / file).write_text(json.dumps(content))
    harness.hub.add_repo("tests/worm", model)
    body = {"model": "tests/worm", "messages": [{"role": "user", "content": "Go on."}]}
    async with http.post("/v1/chat/completions", json=body) as answer:
        await answer.read()  # its weights may or may not fit transformers' class
    assert not ran.exists()
    assert "Failed to load dynamic modules" in harness.worker.log  # it looked for the code


async def test_a_tokenizer_of_another_repository_is_not_read(
    harness: Harness, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """SGLang would read it, because the repository can name the tokenizer's file."""
    hidden = tiny_models.make(tmp_path, "hidden")
    content = json.loads((hidden / "tokenizer.json").read_text())
    content["added_tokens"].append(
        content["added_tokens"][0] | {"id": 999, "content": "SECRET"}
    )
    (hidden / "tokenizer.4.0.0.json").write_text(json.dumps(content))
    model = tiny_models.make(tmp_path, "spy")
    content = json.loads((model / "tokenizer_config.json").read_text())
    content["fast_tokenizer_files"] = ["../hidden/tokenizer.4.0.0.json"]
    (model / "tokenizer_config.json").write_text(json.dumps(content))
    assert "SECRET" in sglangs_words(model)

    harness.hub.add_repo("tests/spy", model)
    body = {"model": "tests/spy", "messages": [{"role": "user", "content": "SECRET"}]}
    async with http.post("/v1/chat/completions", json=body) as answer:
        error = (await answer.json())["error"]
    assert error["code"] == "unsupported_model"
    assert "fast_tokenizer_files" in error["message"]


def sglangs_words(model: Path) -> str:
    """The words added to a model's tokenizer, as SGLang loads it."""
    code = (
        "import sys; from sglang.srt.utils.hf_transformers_utils import get_tokenizer;"
        "print(get_tokenizer(sys.argv[1]).get_added_vocab())"
    )
    ran = subprocess.run(
        [ROOT / ".venv-sglang" / "bin" / "python", "-c", code, model],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "engines" / "cpu"),
            "SGLANG_USE_CPU_ENGINE": "1",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout
