"""Which fields of a body an engine gets to see.

By SGLang 0.5.23's own request classes (`entrypoints/openai/protocol.py`,
`managers/io_struct.py`). A test reads those classes and fails on a field that nobody has
judged, so that a new SGLang can't open a door unseen.

| field | what it is | here |
|---|---|---|
| `rid`, `request_id` | the engine's id of a request: collides with another's | dropped |
| `session_id`, `conversation_id`, `routing_key` | names for routing | dropped |
| `custom_labels` | labels of the engine's metrics | dropped |
| `priority` | jumps the engine's queue | dropped |
| `data_parallel_rank`, `*_dp_rank` | picks a GPU | dropped |
| `cache_salt` | the prefix cache's namespace | mixed into the router's own |
| `extra_key` | the same, before it is salted | dropped |
| `custom_params` | input of a logit processor | dropped |
| `store` | keep the answer in the engine's memory | false |
| `session_params` | continues another request's state | refused |
| `bootstrap_*` | has the engine connect to a host | refused |
| `lora_path` | loads an adapter from a path | refused |
| `custom_logit_processor` | runs the caller's pickled code | refused |
| `background` | generates on after the answer, unseen by the pool | refused |
| `previous_response_id` | reads a stored answer, whoever's it is | refused |
| `chat_template_kwargs.chat_template` | runs the caller's template | refused |
| `/generate`: all but the list below | much of the engine's inside | refused |
"""

from __future__ import annotations

from router.errors import InvalidRequest

# The answer is the same without them.
DROPPED = frozenset(
    {
        "rid",
        "request_id",
        "session_id",
        "conversation_id",
        "routing_key",
        "custom_labels",
        "priority",
        "data_parallel_rank",
        "routed_dp_rank",
        "disagg_prefill_dp_rank",
        "cache_salt",
        "extra_key",
        "custom_params",
        "store",
    }
)

# The answer would be another one, so the caller is told.
REFUSED = {
    "session_params": "send the whole conversation instead",
    "bootstrap_host": "this worker does not split prefill from decode",
    "bootstrap_port": "this worker does not split prefill from decode",
    "bootstrap_room": "this worker does not split prefill from decode",
    "lora_path": "name a model that has the adapter merged",
    "custom_logit_processor": "a request can't bring code",
    "background": "an answer ends with its request",
    "previous_response_id": "answers are not kept; send the whole conversation in `input`",
}

# GenerateReqInput is the engine's own structure; most of it was never meant for callers.
GENERATE = frozenset(
    {
        "text",
        "input_ids",
        "image_data",
        "video_data",
        "audio_data",
        "modalities",
        "sampling_params",
        "return_logprob",
        "logprob_start_len",
        "top_logprobs_num",
        "token_ids_logprob",
        "return_text_in_logprobs",
        "return_hidden_states",
        "return_prompt_token_ids",
        "return_entropy",
    }
)


def admit_fields(path: str, content: dict[str, object]) -> dict[str, object]:
    """What of `content` goes upstream on this route. Raises `InvalidRequest`.

    A refused field that asks for nothing (null, false, empty) is dropped: clients send
    their defaults.
    """
    fields = {name: value for name, value in content.items() if name not in DROPPED}
    for name, advice in REFUSED.items():
        if fields.pop(name, None):
            raise InvalidRequest(f"`{name}` is not offered: {advice}.", param=name)
    if path == "/generate":
        for name in fields.keys() - GENERATE:
            if fields.pop(name):
                shown = _shown(name)
                raise InvalidRequest(
                    f"`{shown or 'That field'}` is not offered on {path}.", param=shown
                )
        _drop_custom_params(fields.get("sampling_params"))
    if path == "/v1/responses":
        fields["store"] = False  # left out, it means true to SGLang
    kwargs = fields.get("chat_template_kwargs")
    if isinstance(kwargs, dict) and kwargs.pop("chat_template", None):
        raise InvalidRequest(
            "`chat_template_kwargs.chat_template` is not offered: the model's own is used.",
            param="chat_template_kwargs.chat_template",
        )
    return fields


def _drop_custom_params(sampling: object) -> None:
    for item in sampling if isinstance(sampling, list) else [sampling]:
        if isinstance(item, dict):
            item.pop("custom_params", None)


def _shown(name: str) -> str | None:
    """The name of a field, where it is one: a caller's key can be anything."""
    return name if name.isidentifier() and len(name) <= 64 else None
