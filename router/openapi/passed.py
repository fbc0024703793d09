"""The fields of SGLang 0.5.23 that the router passes on without a rule of its own.

An engine checks their values. A test reads SGLang's request classes and fails if a field is
missing here or no longer exists.
"""

from __future__ import annotations

from collections.abc import Mapping

from router.openapi.values import Json, either

_FLAG: Json = {"type": "boolean"}
_TEXT: Json = {"type": ["string", "null"]}
_OBJECT: Json = {"type": ["object", "null"]}
_EFFORTS = ["none", "minimal", "low", "medium", "high", "xhigh", "ultra", "max"]


def _one_of(*words: str) -> Json:
    return {"type": ["string", "null"], "enum": [*words, None]}


_EFFORT: Json = {
    "anyOf": [{"enum": [*_EFFORTS, None]}, {"type": "number", "minimum": 0, "maximum": 0.99}]
}
_CHOICE: Json = {
    "anyOf": [
        {"enum": ["auto", "required", "none", None]},
        {
            "type": "object",
            "required": ["function"],
            "properties": {
                "type": {"const": "function"},
                "function": {"type": "object", "properties": {"name": _TEXT}},
            },
        },
    ]
}
_ANTHROPICS_CHOICE: Json = {
    "type": ["object", "null"],
    "required": ["type"],
    "properties": {
        "type": {"enum": ["auto", "any", "tool", "none"]},
        "name": _TEXT,
        "disable_parallel_tool_use": _FLAG,
    },
}
_STREAM_OPTIONS: Json = {
    "type": ["object", "null"],
    "properties": {
        "include_usage": {"type": ["boolean", "null"]},
        "continuous_usage_stats": {"type": ["boolean", "null"]},
    },
}
_MEDIA: Json = {
    "type": ["string", "array", "object", "null"],
    "description": "A `data:` URL or base64, or a list of these for each prompt. `https` URLs "
    "only of the hosts that the operator lists.",
}
_USER: Mapping[str, Json] = {"user": _TEXT}
_OPENAI: Mapping[str, Json] = {
    **_USER,
    "stream_options": _STREAM_OPTIONS,
    "return_routed_experts": _FLAG,
    "return_cached_tokens_details": _FLAG,
    "return_spec_tokens_details": _FLAG,
    "return_token_ids": _FLAG,
}
_ANTHROPICS: Mapping[str, Json] = {
    "tool_choice": _ANTHROPICS_CHOICE,
    "betas": {"type": ["array", "null"], "items": {"type": "string"}},
}
_FLAGS_OF_CHAT = (
    *("parallel_tool_calls", "return_prompt_token_ids", "return_meta_info"),
    *("return_input_ids_in_sglext", "return_output_ids_in_sglext", "return_sampling_mask"),
    *("return_flat_raw_output_top_logprobs", "return_flat_raw_top_logprobs_b64"),
    *("continue_final_message", "separate_reasoning", "stream_reasoning", "use_audio_in_video"),
)
_RESPONSES: Mapping[str, Json] = {
    **_USER,
    "instructions": _TEXT,
    "metadata": _OBJECT,
    "parallel_tool_calls": {"type": ["boolean", "null"]},
    "tool_choice": either(_one_of("auto", "required", "none"), {"type": "object"}),
    "truncation": _one_of("auto", "disabled"),
    "service_tier": {"enum": ["auto", "default", "flex", "scale", "priority"]},
    "reasoning": {
        "type": ["object", "null"],
        "properties": {
            "effort": _one_of(*_EFFORTS),
            "summary": _one_of("auto", "concise", "detailed"),
        },
    },
    "include": {
        "type": ["array", "null"],
        "items": {
            "enum": [
                "code_interpreter_call.outputs",
                "computer_call_output.output.image_url",
                "file_search_call.results",
                "message.input_image.image_url",
                "message.output_text.logprobs",
                "reasoning.encrypted_content",
            ]
        },
    },
}

PASSED: Mapping[str, Mapping[str, Json]] = {
    "/v1/chat/completions": {
        **_OPENAI,
        **dict.fromkeys(_FLAGS_OF_CHAT, _FLAG),
        "tool_choice": _CHOICE,
        "reasoning_effort": _EFFORT,
        "sampling_logprobs_mode": _one_of("selected", "support"),
        "task": _one_of("action", "query", "authority", "domain", "title", "read_url"),
    },
    "/v1/completions": {**_OPENAI, "suffix": _TEXT, "best_of": {"type": ["integer", "null"]}},
    "/v1/responses": _RESPONSES,
    "/v1/messages": {**_ANTHROPICS, "metadata": _OBJECT},
    "/v1/messages/count_tokens": _ANTHROPICS,
    "/generate": dict.fromkeys(("image_data", "video_data", "audio_data"), _MEDIA),
    "/v1/embeddings": {**_USER, "encoding_format": {"enum": ["float", "base64"]}},
    "/v1/classify": _USER,
    "/v1/rerank": {"instruct": _TEXT, "return_documents": _FLAG},
    "/v1/score": {
        "apply_softmax": _FLAG,
        "return_token_logprobs": _FLAG,
        "item_first": _FLAG,
        "return_pooled_hidden_states": _FLAG,
        "score_extraction_token": _TEXT,
    },
    "/v1/tokenize": {
        "tool_choice": _CHOICE,
        "reasoning_effort": _EFFORT,
        "continue_final_message": _FLAG,
        "add_special_tokens": _FLAG,
        "add_generation_prompt": {"type": ["boolean", "null"]},
    },
    "/v1/detokenize": {"skip_special_tokens": _FLAG},
}
