"""Asks SGLang's own code how much of its pools models take. SGLang's interpreter runs it.

Standard input: JSON, a list of `{"directory", "tensor"}`. The last line of standard output: for
each, `{"token", "sequence", "context", "element"}`, or the error as text.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from sglang.srt.configs import mamba_utils
from sglang.srt.configs.hybrid_arch import mambaish_config
from sglang.srt.configs.model_config import AttentionArch, ModelConfig
from sglang.srt.model_executor import pool_configurator as pools
from sglang.srt.server_args import ServerArgs

_SHARE = 0.8  # the default of `--swa-full-tokens-ratio`


def main() -> None:
    answers: list[dict[str, float] | str] = []
    for question in json.load(sys.stdin):
        try:
            answers.append(asked(**question))
        except Exception as error:  # noqa: BLE001 - whatever SGLang raises
            answers.append(f"{type(error).__name__}: {error}")
    print(f"\n{json.dumps(answers)}")


def asked(directory: str, tensor: int) -> dict[str, float]:
    share_layers_between(tensor)
    model = ModelConfig.from_server_args(
        ServerArgs(model_path=directory, device="cpu"), model_path=directory
    )
    runner = SimpleNamespace(
        model_config=model,
        kv_cache_dtype=model.dtype,
        kv_cache_dtype_str="auto",
        use_mla_backend=model.attention_arch == AttentionArch.MLA,
        server_args=SimpleNamespace(enable_hisparse=False, enable_dsa_cache_layer_split=False),
        layer_info=layers(model),
        sliding_window_size=model.sliding_window_size,
        page_size=1,
        is_hybrid_swa=model.is_hybrid_swa,
        is_draft_worker=False,
        mambaish_config=mambaish_config(model),
        spec_algorithm=SimpleNamespace(
            is_eagle=lambda: False,
            is_standalone=lambda: False,
            is_dflash_family=lambda: False,
            is_none=lambda: True,
        ),
        fused_entry_bytes=lambda _: None,
        pp_size=1,
        attn_dp_size=1,
    )
    state = mambaish_config(model)
    return {
        "token": configurator(model)(runner)._cell_size,
        "sequence": state.mamba2_cache_params.mamba_cache_per_req if state else 0,
        "context": model.context_len,
        "element": torch._utils._element_size(model.dtype),
    }


def configurator(model: ModelConfig) -> Callable[[Any], Any]:
    windows: Callable[[Any], Any] = pools.HybridSWAPoolConfigurator
    return windows if model.is_hybrid_swa else pools.DefaultPoolConfigurator


def layers(model: ModelConfig) -> SimpleNamespace:
    count = max(model.num_hidden_layers, model.num_attention_layers)
    return SimpleNamespace(
        start_layer=0,
        end_layer=count,
        num_effective_layers=count,
        full_attention_layer_ids=model.full_attention_layer_ids,
        swa_attention_layer_ids=model.swa_attention_layer_ids,
    )


def share_layers_between(gpus: int) -> None:
    """Set what a running engine would have set."""
    parallel = SimpleNamespace(
        attn_tp_size=gpus,
        tp_size=gpus,
        attn_dcp_size=1,
        enable_dsa_cache_layer_split=False,
    )
    answers = {"get_parallel": lambda: parallel, "linear_attn_tp_size": lambda: gpus}
    for name, module in tuple(sys.modules.items()):
        for function, answer in answers.items():
            if name.startswith("sglang.") and hasattr(module, function):
                setattr(module, function, answer)
    pools.get_schedule = lambda: SimpleNamespace(
        swa_full_tokens_ratio=_SHARE, max_total_tokens=None
    )
    pools.get_memory = lambda: SimpleNamespace(
        enable_unified_memory=False, enable_hisparse=False
    )
    pools.compute_page_shard_scratch_bytes = lambda *_, **__: 0
    mamba_utils.envs.SGLANG_MAMBA_SSM_DTYPE.set(None)


if __name__ == "__main__":
    main()
