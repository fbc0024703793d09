"""Drift: a field in a new SGLang that nobody has judged."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from router.requests.fields import DROPPED, GENERATE, REFUSED

JUDGED = DROPPED | REFUSED.keys() | GENERATE | {"model", "stream", "hf_token"}
HARMLESS = """
    add_generation_prompt add_special_tokens apply_softmax best_of betas
    chat_template_kwargs continue_final_message dimensions documents ebnf echo
    encoding_format frequency_penalty ignore_eos
    images_config include input instruct instructions item_first items
    json_schema label_token_ids logit_bias logprobs max_completion_tokens max_dynamic_patch
    max_output_tokens max_tokens max_tool_calls messages metadata min_dynamic_patch min_p
    min_tokens mm_processor_kwargs n no_stop_trim output_config parallel_tool_calls
    presence_penalty prompt query reasoning reasoning_effort regex
    repetition_penalty response_format return_cached_tokens_details return_documents
    return_flat_raw_output_top_logprobs return_flat_raw_top_logprobs_b64
    return_input_ids_in_sglext return_meta_info return_output_ids_in_sglext
    return_pooled_hidden_states return_routed_experts return_sampling_mask
    return_spec_tokens_details return_token_ids return_token_logprobs
    routed_experts_start_len sampling_logprobs_mode score_extraction_token seed
    separate_reasoning service_tier skip_special_tokens stop stop_sequences
    stop_token_ids stream_options stream_reasoning suffix system task temperature text
    thinking tokens tool_choice tools top_k top_logprobs top_n top_p truncation
    use_audio_in_video user video_config watermark
"""
REQUESTS = {
    "openai/protocol.py": {
        "PDRoutingFields",
        "ChatCompletionRequest",
        "CompletionRequest",
        "ResponsesRequest",
        "EmbeddingRequest",
        "ClassifyRequest",
        "V1RerankReqInput",
        "ScoringRequest",
        "TokenizeRequest",
        "DetokenizeRequest",
    },
    "anthropic/protocol.py": {"AnthropicMessagesRequest", "AnthropicCountTokensRequest"},
}


def sglang_classes(file: str) -> dict[str, set[str]]:
    root = Path(__file__).parents[2] / ".venv-sglang"
    found = list(root.glob(f"lib/*/site-packages/sglang/srt/entrypoints/{file}"))
    if not found:
        pytest.skip("SGLang is not installed (make setup)")
    return {
        node.name: {
            item.target.id
            for item in node.body
            if isinstance(item, ast.AnnAssign)
            and isinstance(item.target, ast.Name)
            and not item.target.id.startswith("_")
        }
        for node in ast.parse(found[0].read_text()).body
        if isinstance(node, ast.ClassDef)
    }


@pytest.mark.parametrize("file", REQUESTS)
def test_every_field_of_sglangs_requests_has_been_judged(file: str) -> None:
    classes = sglang_classes(file)
    offered = set().union(*(classes[name] for name in REQUESTS[file]))
    assert offered - JUDGED - set(HARMLESS.split()) == set()
