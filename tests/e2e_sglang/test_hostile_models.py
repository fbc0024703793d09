from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import pytest

from tests import tiny_models
from tests.e2e_sglang.harness import Harness

pytestmark = pytest.mark.sglang


async def test_a_strangers_model_does_not_run_its_own_code(
    harness: Harness, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """SGLang imports it for an architecture that it does not know, trusted or not."""
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
            content["architectures"] = ["WormForCausalLM"]
        (model / file).write_text(json.dumps(content))
    harness.hub.add_repo("tests/worm", model)
    body = {"model": "tests/worm", "messages": [{"role": "user", "content": "Go on."}]}
    async with http.post("/v1/chat/completions", json=body) as answer:
        assert (await answer.json())["error"]["code"] == "engine_failed"
    assert "WormForCausalLM" in harness.worker.log  # it came as far as to look for the code
    assert not ran.exists()
