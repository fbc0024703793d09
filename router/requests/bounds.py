"""The allowed values of each field of a body: one table per route.

Many values out of range do more than fail: they kill or hang SGLang 0.5.23 for everybody. For
example, it checks a token id beyond the vocabulary, a top-k beyond the vocabulary, or a number
that overflows a float32 only where it computes with it. So every field from which SGLang reads
a number or a list has a rule here. A test reads SGLang's request classes and fails on a field
that has neither a rule nor a reason. Other fields pass if they are few and small.

Null counts as absent. Requirements that depend on the model, which is not known yet when a body
is read, are collected as `Demands` and checked before the request is sent.
"""

from __future__ import annotations

from collections.abc import Mapping

from router.errors import InvalidRequest
from router.requests.combinations import MOST_PROMPTS, check_together, must_call
from router.requests.grammars import EBNF, MOST_VALUES, REGEX, Schemas
from router.requests.rules import (
    Both,
    Demands,
    Either,
    Flag,
    Items,
    Nested,
    Object,
    Objects,
    OneOrMore,
    Real,
    Rule,
    Text,
    Texts,
    Unfit,
    Whole,
    demanded,
)
from router.requests.token_rules import Bias, IdLists, Ids, Prompt, TopTokens

_INT32 = 2**31 - 1
_MOST_CHOICES = 128  # OpenAI's limit
_MOST_TOP = 128  # of the top tokens at each position; OpenAI returns up to 20
_MOST_IDS = 4096  # in a list that is not a prompt

_COUNT = Whole(0, _INT32)
_SEED = Whole(-(2**63), 2**63 - 1)
_PATCHES = Whole(0, 128)  # an engine tries all ways to tile an image into that many patches
_PROMPT = Prompt(MOST_PROMPTS)
_PROMPT_TEXTS, _PROMPT_IDS = Prompt(MOST_PROMPTS, ids=False), Prompt(MOST_PROMPTS, texts=False)
_ID_LISTS = IdLists(MOST_PROMPTS, _MOST_IDS)
_FLAG = Flag()
_TEMPERATURE = Real(0, 100)  # 1e39 overflows to infinity in the engine
_HIDDEN_STATES = Flag(also=("last",))
# An engine checks each value, and serves nobody else meanwhile.
_MESSAGES = Both(Objects(16384), Nested(1 << 18))
_OTHERS, _MOST_FIELDS = Nested(1 << 14), 256
_TOOLS = Both(Objects(1024), Nested(MOST_VALUES))
_TEXT = Text()
_SCHEMAS = Schemas()
_OPTIONS = Nested(values=1024, numbers=_INT32)
_TEMPLATE_OPTIONS = Both(_OPTIONS, Object({"spaces_between_special_tokens": _FLAG}))

_CHOOSING: Mapping[str, Rule] = {
    "temperature": _TEMPERATURE,
    "top_p": Real(0, 1),
    "min_p": Real(0, 1),
    "top_k": Whole(-1, 2**30),  # SGLang uses the maximum to mean all tokens
    "frequency_penalty": Real(-2, 2),
    "presence_penalty": Real(-2, 2),
    "repetition_penalty": Real(0.01, 2),  # logits are divided by it
    "stop": Texts(32, 1024),
}
_MORE_CHOOSING: Mapping[str, Rule] = {
    **_CHOOSING,
    "regex": REGEX,
    "ebnf": EBNF,
    "json_schema": Schemas(written=True),
    "structural_tag": Schemas(written=True),
    "n": Whole(1, _MOST_CHOICES),
    "logit_bias": Bias(-1e9, 1e9),
    "stop_token_ids": Ids(128),
    "ignore_eos": _FLAG,
    "no_stop_trim": _FLAG,
    "skip_special_tokens": _FLAG,
}
_OPENAI: Mapping[str, Rule] = {
    **_MORE_CHOOSING,
    "response_format": _SCHEMAS,
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
    "input_ids": _PROMPT_IDS,
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
    "text": _PROMPT_TEXTS,
    "input_ids": _PROMPT_IDS,
    "sampling_params": OneOrMore(Object(_SAMPLING, closed=True), MOST_PROMPTS),
    "return_logprob": OneOrMore(_FLAG, MOST_PROMPTS),
    "logprob_start_len": OneOrMore(Whole(-1, _INT32), MOST_PROMPTS),
    "top_logprobs_num": OneOrMore(TopTokens(_MOST_TOP), MOST_PROMPTS),
    "token_ids_logprob": IdLists(MOST_PROMPTS, _MOST_TOP),
    "return_text_in_logprobs": _FLAG,
    "return_hidden_states": OneOrMore(_HIDDEN_STATES, MOST_PROMPTS),
    "return_prompt_token_ids": _FLAG,
    "return_entropy": _FLAG,
    "modalities": Texts(MOST_PROMPTS, 64),
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
    "text": _SCHEMAS,
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
    "output_config": Object({"task_budget": _OPTIONS, "format": _SCHEMAS}),
}
_MESSAGES_API: Mapping[str, Rule] = {
    **_CHOOSING,
    **_COUNT_TOKENS,
    "max_tokens": _COUNT,
    "stop_sequences": Texts(32, 1024),
}
_EMBEDDINGS: Mapping[str, Rule] = {
    "input": Either(_PROMPT, Objects(MOST_PROMPTS)),
    "dimensions": Whole(1, 2**20),
}
_RERANK: Mapping[str, Rule] = {
    "query": Either(_TEXT, Items(MOST_PROMPTS)),
    "documents": Items(MOST_PROMPTS),
    "top_n": Whole(1, _INT32),
}
_SCORE: Mapping[str, Rule] = {
    "query": _PROMPT,
    "items": _PROMPT,
    "label_token_ids": _ID_LISTS,
    "temperature": _TEMPERATURE,
}
_TOKENIZE: Mapping[str, Rule] = {
    "prompt": Texts(MOST_PROMPTS, _INT32),
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
    "/v1/detokenize": {"tokens": IdLists(MOST_PROMPTS, _INT32)},
}

# Fields of an image or video in a message.
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
    """Return the values' requirements for the model. Raises `InvalidRequest`."""
    rules = BOUNDS[path]
    demands = _demanded(rules, fields)
    _check_others({name: value for name, value in fields.items() if name not in rules})
    if must_call(fields):
        _demanded({"tools": _SCHEMAS}, fields)
    check_together(fields)
    return demands


def _check_others(fields: Mapping[str, object]) -> None:
    """Limit the fields without a rule. SGLang reads them as they are, or does not know them."""
    if len(fields) > _MOST_FIELDS:
        raise InvalidRequest(f"The body has too many fields: {_MOST_FIELDS} at most.")
    for name, value in fields.items():
        try:
            _OTHERS.needs(value)
        except Unfit as unfit:
            raise InvalidRequest(f"`{name[:64]}` must be {unfit}.", param=name[:64]) from None


def check_source(source: Mapping[str, object]) -> None:
    """Raises `InvalidRequest` for an image or video that would be split into too many parts."""
    _demanded(SOURCE, source)


def _demanded(rules: Mapping[str, Rule], fields: Mapping[str, object]) -> Demands:
    try:
        return demanded(rules, fields)
    except Unfit as unfit:
        raise InvalidRequest(f"`{unfit.field}` must be {unfit}.", param=unfit.field) from None
