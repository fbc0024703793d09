"""Checks combinations of fields that are only wrong together."""

from __future__ import annotations

from collections.abc import Mapping

from router.errors import InvalidRequest

MOST_PROMPTS = 4096  # per request, times `n`: the engine makes a request of each
_PROMPTS = ("prompt", "text", "input_ids")
_MOST_TOLD = (
    500_000  # prompt logprobs; SGLang needs 3 s for these and does nothing else meanwhile
)
_GRAMMARS = ("regex", "ebnf", "json_schema", "structural_tag")


# If none of these is present, no combination can be wrong.
_COMBINED = frozenset(
    {
        "echo",
        "min_new_tokens",
        "min_tokens",
        "n",
        "return_logprob",
        "sampling_params",
        "token_ids_logprob",
    }
)


def check_together(fields: Mapping[str, object]) -> None:
    """Raises `InvalidRequest` for a wrong combination."""
    if _COMBINED.isdisjoint(fields):
        return
    _check_logprobs(fields)
    sampling = fields.get("sampling_params")
    every = [fields, *(sampling if isinstance(sampling, list) else [sampling])]
    for options in every:
        if isinstance(options, dict):
            _check_end(options)
            if options.get("n"):
                _check_count(options["n"], fields)


def _check_count(choices: object, fields: Mapping[str, object]) -> None:
    """The engine makes a separate request of each of the `n` answers to each prompt."""
    lists = [fields.get(name) for name in _PROMPTS]
    prompts = max(len(one) if isinstance(one, list) else 1 for one in lists)
    if isinstance(choices, int | float) and choices > 1 and choices * prompts > MOST_PROMPTS:
        raise InvalidRequest(
            f"`n` times the number of prompts must be {MOST_PROMPTS} at most.", param="n"
        )


def _check_logprobs(fields: Mapping[str, object]) -> None:
    """Limit prompt logprobs: SGLang creates a Python object per top token and position."""
    name = "logprobs" if fields.get("echo") else "top_logprobs_num"
    asked = fields.get(name) if fields.get("echo") or fields.get("return_logprob") else None
    told = _most(asked) + _longest(fields.get("token_ids_logprob"))
    if told and told * max(_size(fields.get(prompt)) for prompt in _PROMPTS) > _MOST_TOLD:
        raise InvalidRequest(
            f"`{name}` must be smaller for so long a prompt: {_MOST_TOLD} in all at most, "
            "counting a character as a token.",
            param=name,
        )


def _most(value: object) -> float:
    every = value if isinstance(value, list) else [value]
    return max((one for one in every if isinstance(one, int | float)), default=0)


def _longest(value: object) -> int:
    every = value if isinstance(value, list) else []
    return max([len(every), *(len(one) for one in every if isinstance(one, list))])


def _size(prompt: object) -> int:
    """Characters of a text, number of token ids, or the sum over several prompts."""
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], str | list):
        return sum(len(one) for one in prompt if isinstance(one, str | list))
    return len(prompt) if isinstance(prompt, str | list) else 0


def _check_end(options: Mapping[str, object]) -> None:
    """Refuse `min_tokens` together with a grammar. When the grammar has ended, only the end
    token is allowed, and `min_tokens` forbids it: the engine samples from no token and dies."""
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
        or isinstance(tool, dict)
        or tool == "required"
    )


def must_call(fields: Mapping[str, object]) -> bool:
    """Whether the answer must be a tool call."""
    if "tool_choice" not in fields and "tools" not in fields:
        return False
    choice, tools = fields.get("tool_choice"), fields.get("tools")
    kind = choice.get("type") if isinstance(choice, dict) else choice
    return kind not in (None, "auto", "none") or any(
        one.get("strict") or (isinstance(f := one.get("function"), dict) and f.get("strict"))
        for one in (tools if isinstance(tools, list) else ())
        if isinstance(one, dict)  # a route without tools has no rule for them
    )
