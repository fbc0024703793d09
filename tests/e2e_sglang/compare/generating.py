"""Requests to the other routes that generate."""

from __future__ import annotations

import json

from tests.e2e_sglang.compare.case import (
    COUNT,
    FIELD,
    SCHEMA,
    USAGE,
    USER,
    case,
    complete,
    generate,
    message,
    respond,
    without,
)
from tests.e2e_sglang.compare.expected import Own, Reason

COMPLETED = [
    complete("plain"),
    complete("streamed", stream=True),
    complete("streamed, with usage", stream=True, stream_options=USAGE),
    complete("echo", echo=True),
    complete("echo, streamed", echo=True, stream=True),
    complete("logprobs", logprobs=3),
    complete("echo and logprobs", echo=True, logprobs=2),
    complete("several prompts", prompt=["One?", "Two?"]),
    complete("several prompts, streamed", prompt=["One?", "Two?"], stream=True),
    complete("token ids", prompt=[10, 11, 12]),
    complete("several prompts of token ids", prompt=[[10, 11], [12, 13]]),
    complete("two answers", n=2),
    complete("a suffix", suffix="the end"),
    complete("best_of", best_of=2),
    complete("JSON schema", json_schema=json.dumps(SCHEMA)),
    complete("regex, streamed", regex="(yes|no)", stream=True),
    complete("min_tokens", min_tokens=6),
    complete("special tokens shown", skip_special_tokens=False, ignore_eos=True),
    complete("hidden states not computed", return_hidden_states=True),
    complete("an empty prompt", prompt=""),
    complete("no prompts", prompt=[]),
    complete("a prompt of the wrong type", prompt={"a": 1}),
    complete("a prompt of mixed types", prompt=["One?", 2]),
    without(complete("prompt missing"), "prompt"),
    complete("logprobs of the wrong type", logprobs="all"),
    complete("a prompt that is too long", prompt="x" * 6000),
    complete("max_tokens beyond the context", max_tokens=100_000),
    complete("a session's state", session_params={"id": "x"}, own=FIELD),
]

RESPONDED = [
    respond("plain"),
    respond("streamed", stream=True),
    respond("instructions", instructions="Be brief."),
    respond("messages", input=USER),
    respond(
        "parts", input=[{"role": "user", "content": [{"type": "input_text", "text": "A"}]}]
    ),
    respond("tools", tools=[{"type": "function", "name": "look", "parameters": SCHEMA}]),
    respond(
        "JSON schema", text={"format": {"type": "json_schema", "name": "s", "schema": SCHEMA}}
    ),
    respond("metadata", metadata={"a": "b"}, store=False),
    respond("top_logprobs", top_logprobs=2, include=["message.output_text.logprobs"]),
    respond("no input", input=""),
    respond("input of the wrong type", input=5),
    without(respond("input missing"), "input"),
    respond("a temperature of the wrong type", temperature="hot"),
    respond("a tool that isn't there", tools=[{"type": "teleport"}]),
    respond("an error in a stream", temperature="hot", stream=True),
    respond("a former response", previous_response_id="resp_1", own=FIELD),
    respond("in the background", background=True, own=FIELD),
]

MESSAGED = [
    message("plain"),
    message("streamed", stream=True),
    message("a system text", system="Be brief."),
    message("a system block", system=[{"type": "text", "text": "Be brief."}]),
    message("blocks", messages=[{"role": "user", "content": [{"type": "text", "text": "A"}]}]),
    message("stop sequences", stop_sequences=[" am"]),
    message("stop sequences, streamed", stop_sequences=[" am"], stream=True),
    message("tools", tools=[{"name": "look", "input_schema": SCHEMA}]),
    message(
        "a tool must be used",
        tools=[{"name": "look", "input_schema": SCHEMA}],
        tool_choice={"type": "any"},
    ),
    message("top_k, top_p, metadata", top_k=3, top_p=0.9, metadata={"user_id": "me"}),
    message("cut by max_tokens", max_tokens=2),
    without(message("max_tokens missing"), "max_tokens"),
    without(message("messages missing"), "messages"),
    message("max_tokens zero", max_tokens=0),
    message("max_tokens zero, streamed", max_tokens=0, stream=True),
    message("no messages", messages=[]),
    message("a role that isn't there", messages=[{"role": "wizard", "content": "Hi"}]),
    message("a prompt that is too long", messages=[{"role": "user", "content": "x" * 6000}]),
    case("plain", COUNT, {"messages": USER}),
    case("with a system text and tools", COUNT, {"messages": USER, "system": "Be."}),
    case("stream counts for nothing", COUNT, {"messages": USER, "stream": True}),
    case("messages missing", COUNT, {}),
]

GENERATED = [
    generate("plain"),
    generate("streamed", stream=True),
    generate("several texts", text=["One?", "Two?"]),
    without(generate("token ids", input_ids=[10, 11, 12]), "text"),
    generate("logprobs", return_logprob=True, top_logprobs_num=2),
    generate("text in logprobs", return_logprob=True, return_text_in_logprobs=True),
    generate(
        "several answers", sampling_params={"n": 2, "temperature": 0, "max_new_tokens": 4}
    ),
    without(generate("no text"), "text"),
    generate("a text of the wrong type", text=5),
    generate("sampling of the wrong type", sampling_params="hot"),
    generate("a sampling parameter that isn't there", sampling_params={"surprise": 1}),
    generate("a temperature below zero", sampling_params={"temperature": -1}),
    generate(
        "a temperature below zero, streamed",
        sampling_params={"temperature": -1},
        stream=True,
        own=Own(Reason.VALUE, 400, "invalid_request"),
    ),
    generate("a text that is too long", text="x" * 6000),
    generate("input embeddings", input_embeds=[[0.1] * 64], own=FIELD),
    generate("an unknown field", surprise=1, own=FIELD),
]
