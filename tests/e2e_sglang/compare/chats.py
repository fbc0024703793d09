"""Requests to `/v1/chat/completions`, the route with the most fields."""

from __future__ import annotations

from tests.e2e_sglang.compare.case import (
    FIELD,
    INVALID,
    PIXEL,
    SCHEMA,
    TOOL,
    USAGE,
    USER,
    chat,
    without,
)
from tests.e2e_sglang.compare.expected import Own, Reason

CHATS = [
    chat("plain"),
    chat("streamed", stream=True),
    chat("streamed, with usage", stream=True, stream_options=USAGE),
    chat(
        "streamed, with usage in each event",
        stream=True,
        stream_options=USAGE | {"continuous_usage_stats": True},
    ),
    chat("a system message", messages=[{"role": "system", "content": "Be."}, *USER]),
    chat(
        "parts of text", messages=[{"role": "user", "content": [{"type": "text", "text": "A"}]}]
    ),
    chat("two answers", n=2),
    chat("two answers, streamed", n=2, stream=True),
    chat("logprobs", logprobs=True, top_logprobs=3),
    chat("logprobs, streamed", logprobs=True, top_logprobs=3, stream=True),
    chat("top_logprobs alone", top_logprobs=3),
    chat("stop word", stop=" am"),
    chat("stop words, streamed", stop=["pp", "zz"], stream=True),
    chat("stop token", stop_token_ids=[260], no_stop_trim=True),
    chat("max_completion_tokens", max_completion_tokens=2),
    chat("cut by max_tokens", max_tokens=2),
    chat("ignore_eos", ignore_eos=True, max_tokens=12),
    chat("penalties", frequency_penalty=1.5, presence_penalty=-0.5, repetition_penalty=1.1),
    chat("top_k, top_p, min_p, seed", top_k=5, top_p=0.9, min_p=0.1, seed=7),
    chat("logit_bias", logit_bias={"100": 50}),
    chat("JSON object", response_format={"type": "json_object"}),
    chat(
        "JSON schema",
        response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}},
    ),
    chat("regex", regex="(yes|no)"),
    chat("ebnf", ebnf='root ::= "yes" | "no"'),
    chat("tools, unused", tools=[TOOL]),
    chat("tools, none", tools=[TOOL], tool_choice="none"),
    chat("tools, required", tools=[TOOL], tool_choice="required", max_tokens=24),
    chat(
        "a tool by name, streamed",
        tools=[TOOL],
        tool_choice={"type": "function", "function": {"name": "look"}},
        max_tokens=24,
        stream=True,
    ),
    chat(
        "a tool's answer",
        messages=[
            *USER,
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "look", "arguments": "{}"},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "It is here."},
        ],
    ),
    chat(
        "continue the last message",
        messages=[*USER, {"role": "assistant", "content": "I"}],
        continue_final_message=True,
    ),
    chat("template arguments", chat_template_kwargs={"enable_thinking": False}),
    chat("separate_reasoning", separate_reasoning=False),
    chat("reasoning_effort", reasoning_effort="low"),
    chat("input ids", input_ids=[10, 11, 12]),
    chat("token ids returned", return_token_ids=True, return_prompt_token_ids=True),
    chat("meta info", return_meta_info=True),
    chat("unknown fields", surprise=1, metadata={"a": "b"}, service_tier="auto", user="me"),
    chat("nulls", stop=None, tools=None, seed=None, top_k=None),
    chat("stream null", stream=None, own=Own(Reason.NULL, 200)),
    chat("text beyond ASCII", messages=[{"role": "user", "content": "Grüße, 世界 \U0001f600"}]),
    chat("routing names", session_id="s", custom_labels={"a": "b"}),
    chat("a lone surrogate", messages=[{"role": "user", "content": "\ud800"}], own=INVALID),
    chat("no messages", messages=[]),
    chat("messages of the wrong type", messages="Who are you?"),
    chat("a role that isn't there", messages=[{"role": "wizard", "content": "Hi"}]),
    chat("a message without a role", messages=[{"content": "Hi"}]),
    chat("content of the wrong type", messages=[{"role": "user", "content": 5}]),
    without(chat("messages missing"), "messages"),
    chat("temperature of the wrong type", temperature="hot"),
    chat("temperature below zero", temperature=-1),
    chat("top_p beyond one", top_p=1.5),
    chat("max_tokens zero", max_tokens=0),
    chat("max_tokens below zero", max_tokens=-5),
    chat("max_tokens of the wrong type", max_tokens="many"),
    chat("n zero", n=0),
    chat("stop of the wrong type", stop={"a": 1}),
    chat("a response format that isn't there", response_format={"type": "poem"}),
    chat("a regex that is none", regex="(("),
    chat("an error in a stream", temperature=-1, stream=True),
    chat("a prompt that is too long", messages=[{"role": "user", "content": "x" * 6000}]),
    chat(
        "a prompt that is too long, streamed",
        messages=[{"role": "user", "content": "x" * 6000}],
        stream=True,
    ),
    chat("a tool that is none", tools=[{"type": "function"}]),
    chat("a tool choice without tools", tool_choice="required"),
    chat("a tool choice of the wrong type", tools=[TOOL], tool_choice="sometimes"),
    chat("stream of the wrong type", stream="sometimes", own=INVALID),
    chat("a template", chat_template_kwargs={"chat_template": "x"}, own=FIELD),
    chat("a logit processor", custom_logit_processor="x", own=FIELD),
    chat("an adapter", lora_path="x", own=FIELD),
    chat("a bootstrap host", bootstrap_host="h", own=FIELD),
    chat("a session's state", session_params={"id": "x"}, own=FIELD),
    chat(
        "a picture from elsewhere",
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/a"}}
                ],
            }
        ],
        own=Own(Reason.MEDIA, 400, "invalid_request"),
    ),
    chat(
        "a picture for a model that takes none",
        messages=[
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": PIXEL}}]}
        ],
    ),
]
