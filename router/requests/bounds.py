"""Which values the fields of a body may have: one table for each route.

A value out of range does not only fail: many kill or hang SGLang 0.5.23, for everybody. It
looks at a token id beyond the vocabulary, at more of the likeliest tokens than there are, or
at a number that is infinite as a float32, only where it computes with it. So every field from
which SGLang reads a number or a list has a rule here. A test reads SGLang's request classes,
and fails on a field that has neither a rule nor a reason. Other fields pass.

Null passes: it is how clients leave a field out. What depends on the model, which is not known
yet when a body is read, is collected as `Demands` and checked before the request is sent.
"""

from __future__ import annotations

from collections.abc import Mapping

from router.errors import InvalidRequest
from router.requests.rules import (
    Bias,
    Both,
    Demands,
    Either,
    Flag,
    IdLists,
    Ids,
    Items,
    Nested,
    Object,
    Objects,
    OneOrMore,
    Prompt,
    Real,
    Rule,
    Text,
    Texts,
    TopTokens,
    Unfit,
    Whole,
    demanded,
)

_GRAMMARS = ("regex", "ebnf", "json_schema", "structural_tag")
_INT32 = 2**31 - 1
_MOST_PROMPTS = 4096  # of one request, `n` times each: the engine makes a request of each
_MOST_CHOICES = 128  # as at OpenAI
_MOST_TOP = 128  # of the likeliest tokens at each position; OpenAI tells of 20
_MOST_IDS = 4096  # in a list that is no prompt

_COUNT = Whole(0, _INT32)
_SEED = Whole(-(2**63), 2**63 - 1)
_PATCHES = Whole(0, 128)  # an engine tries all ways to cut a picture into so many
_PROMPT = Prompt(_MOST_PROMPTS)
_ID_LISTS = IdLists(_MOST_PROMPTS, _MOST_IDS)
_FLAG = Flag()
_TEMPERATURE = Real(0, 100)  # 1e39 is infinite to the engine
_HIDDEN_STATES = Flag(also=("last",))
_MESSAGES = Objects(16384)
_TOOLS = Objects(1024)
_TEXT = Text()
_OPTIONS = Nested(values=1024, numbers=_INT32)
_TEMPLATE_OPTIONS = Both(_OPTIONS, Object({"spaces_between_special_tokens": _FLAG}))

_CHOOSING: Mapping[str, Rule] = {
    "temperature": _TEMPERATURE,
    "top_p": Real(0, 1),
    "min_p": Real(0, 1),
    "top_k": Whole(-1, 2**30),  # the greatest is SGLang's own word for all
    "frequency_penalty": Real(-2, 2),
    "presence_penalty": Real(-2, 2),
    "repetition_penalty": Real(0.01, 2),  # logits are divided by it
    "stop": Texts(32, 1024),
}
_MORE_CHOOSING: Mapping[str, Rule] = {
    **_CHOOSING,
    **dict.fromkeys(_GRAMMARS, _TEXT),
    "n": Whole(1, _MOST_CHOICES),
    "logit_bias": Bias(-1e9, 1e9),
    "stop_token_ids": Ids(128),
    "ignore_eos": _FLAG,
    "no_stop_trim": _FLAG,
    "skip_special_tokens": _FLAG,
}
_OPENAI: Mapping[str, Rule] = {
    **_MORE_CHOOSING,
    "seed": _SEED,
    "max_tokens": _COUNT,
    "min_tokens": _COUNT,
    "return_hidden_states": _HIDDEN_STATES,
    "routed_experts_start_len": _COUNT,
    "images_config": _OPTIONS,
    "mm_processor_kwargs": _OPTIONS,
    "watermark": _OPTIONS,
}
_CHAT: Mapping[str, Rule] = {
    **_OPENAI,
    "messages": _MESSAGES,
    "tools": _TOOLS,
    "input_ids": _PROMPT,
    "max_completion_tokens": _COUNT,
    "logprobs": _FLAG,
    "top_logprobs": TopTokens(_MOST_TOP),
    "chat_template_kwargs": _TEMPLATE_OPTIONS,
    "min_dynamic_patch": _PATCHES,
    "max_dynamic_patch": _PATCHES,
    "video_config": _OPTIONS,
    "thinking": _OPTIONS,
    "reasoning": _OPTIONS,
}
_SAMPLING: Mapping[str, Rule] = {
    **_MORE_CHOOSING,
    "max_new_tokens": _COUNT,
    "min_new_tokens": _COUNT,
    "sampling_seed": _SEED,
    "spaces_between_special_tokens": _FLAG,
    "stream_interval": Whole(1, _INT32),
}
_GENERATE: Mapping[str, Rule] = {
    "text": _PROMPT,
    "input_ids": _PROMPT,
    "sampling_params": OneOrMore(Object(_SAMPLING, closed=True), _MOST_PROMPTS),
    "return_logprob": OneOrMore(_FLAG, _MOST_PROMPTS),
    "logprob_start_len": OneOrMore(Whole(-1, _INT32), _MOST_PROMPTS),
    "top_logprobs_num": OneOrMore(TopTokens(_MOST_TOP), _MOST_PROMPTS),
    "token_ids_logprob": _ID_LISTS,
    "return_text_in_logprobs": _FLAG,
    "return_hidden_states": OneOrMore(_HIDDEN_STATES, _MOST_PROMPTS),
    "return_prompt_token_ids": _FLAG,
    "return_entropy": _FLAG,
    "modalities": Texts(_MOST_PROMPTS, 64),
}
_COMPLETIONS: Mapping[str, Rule] = {
    **_OPENAI,
    "prompt": _PROMPT,
    "logprobs": TopTokens(_MOST_TOP),
    "echo": _FLAG,
}
_RESPONSES: Mapping[str, Rule] = {
    **_CHOOSING,
    "input": Either(_TEXT, _MESSAGES),
    "tools": _TOOLS,
    "max_output_tokens": _COUNT,
    "max_tool_calls": _COUNT,
    "top_logprobs": TopTokens(_MOST_TOP),
    "chat_template_kwargs": _TEMPLATE_OPTIONS,
}
_COUNT_TOKENS: Mapping[str, Rule] = {
    "messages": _MESSAGES,
    "system": Either(_TEXT, _MESSAGES),
    "tools": _TOOLS,
    "thinking": _OPTIONS,
    "output_config": Object({"task_budget": _OPTIONS}),
}
_MESSAGES_API: Mapping[str, Rule] = {
    **_CHOOSING,
    **_COUNT_TOKENS,
    "max_tokens": _COUNT,
    "stop_sequences": Texts(32, 1024),
}
_EMBEDDINGS: Mapping[str, Rule] = {
    "input": Either(_PROMPT, Objects(_MOST_PROMPTS)),
    "dimensions": Whole(1, 2**20),
}
_RERANK: Mapping[str, Rule] = {
    "query": Either(_TEXT, Items(_MOST_PROMPTS)),
    "documents": Items(_MOST_PROMPTS),
    "top_n": Whole(1, _INT32),
}
_SCORE: Mapping[str, Rule] = {
    "query": _PROMPT,
    "items": _PROMPT,
    "label_token_ids": _ID_LISTS,
    "temperature": _TEMPERATURE,
}
_TOKENIZE: Mapping[str, Rule] = {
    "prompt": _PROMPT,
    "messages": _MESSAGES,
    "tools": _TOOLS,
    "chat_template_kwargs": _TEMPLATE_OPTIONS,
}

BOUNDS: Mapping[str, Mapping[str, Rule]] = {
    "/v1/chat/completions": _CHAT,
    "/v1/completions": _COMPLETIONS,
    "/v1/responses": _RESPONSES,
    "/v1/messages": _MESSAGES_API,
    "/v1/messages/count_tokens": _COUNT_TOKENS,
    "/generate": _GENERATE,
    "/v1/embeddings": _EMBEDDINGS,
    "/v1/classify": _EMBEDDINGS,
    "/v1/rerank": _RERANK,
    "/v1/score": _SCORE,
    "/v1/tokenize": _TOKENIZE,
    "/v1/detokenize": {"tokens": _PROMPT},
}

# Of a picture or video that stands in a message.
SOURCE: Mapping[str, Rule] = {
    "min_dynamic_patch": _PATCHES,
    "max_dynamic_patch": _PATCHES,
    "fps": Real(0, 240),
    "max_frames": Whole(0, 4096),
    "max_tokens_per_frame": _COUNT,
    "max_image_tokens": _COUNT,
    "max_long_side_pixel": Whole(0, 1 << 16),
}


def check_fields(path: str, fields: Mapping[str, object]) -> Demands:
    """Return what the values ask of the model. Raises `InvalidRequest` for a wrong one."""
    demands = _demanded(BOUNDS[path], fields)
    _check_count(fields)
    sampling = fields.get("sampling_params")
    for options in (fields, *(sampling if isinstance(sampling, list) else [sampling])):
        if isinstance(options, dict):
            _check_end(options)
    return demands


def check_source(source: Mapping[str, object]) -> None:
    """Raises `InvalidRequest` for a picture or video that would be cut into too much."""
    _demanded(SOURCE, source)


def _demanded(rules: Mapping[str, Rule], fields: Mapping[str, object]) -> Demands:
    try:
        return demanded(rules, fields)
    except Unfit as unfit:
        raise InvalidRequest(f"`{unfit.field}` must be {unfit}.", param=unfit.field) from None


def _check_count(fields: Mapping[str, object]) -> None:
    """Each of `n` answers to each prompt is a request of its own to the engine."""
    lists = [fields.get(name) for name in ("prompt", "text", "input_ids")]
    prompts = max(len(one) if isinstance(one, list) else 1 for one in lists)
    sampling = fields.get("sampling_params")
    first = sampling[0] if isinstance(sampling, list) and sampling else sampling
    choices = (first if isinstance(first, dict) else fields).get("n") or 1
    if isinstance(choices, int | float) and choices > 1 and choices * prompts > _MOST_PROMPTS:
        raise InvalidRequest(
            f"`n` times the number of prompts must be {_MOST_PROMPTS} at most.", param="n"
        )


def _check_end(options: Mapping[str, object]) -> None:
    """Where a grammar has ended, only the end is left, which `min_tokens` forbids: the engine
    chooses of no token at all, and dies."""
    name = "min_tokens" if options.get("min_tokens") else "min_new_tokens"
    if options.get(name) and _has_grammar(options):
        raise InvalidRequest(
            f"`{name}` can't be combined with a grammar, a format or a tool that must be "
            "called: these decide where the answer ends.",
            param=name,
        )


def _has_grammar(options: Mapping[str, object]) -> bool:
    form, tool = options.get("response_format"), options.get("tool_choice")
    return (
        any(options.get(name) for name in _GRAMMARS)
        or (isinstance(form, dict) and form.get("type") != "text")
        or (tool is not None and tool not in ("auto", "none"))
    )
