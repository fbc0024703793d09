"""What is wrong with the fields of a body only together."""

from __future__ import annotations

from collections.abc import Mapping

from router.errors import InvalidRequest

MOST_PROMPTS = 4096  # of one request, `n` times each: the engine makes a request of each
_PROMPTS = ("prompt", "text", "input_ids")
_MOST_TOLD = (
    500_000  # logprobs of a prompt: SGLang takes some 3 s for these, and does nothing else
)
_GRAMMARS = ("regex", "ebnf", "json_schema", "structural_tag")


# Without any of these, no others can be wrong together.
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
    """Raises `InvalidRequest`."""
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
    """Each of `n` answers to each prompt is a request of its own to the engine."""
    lists = [fields.get(name) for name in _PROMPTS]
    prompts = max(len(one) if isinstance(one, list) else 1 for one in lists)
    if isinstance(choices, int | float) and choices > 1 and choices * prompts > MOST_PROMPTS:
        raise InvalidRequest(
            f"`n` times the number of prompts must be {MOST_PROMPTS} at most.", param="n"
        )


def _check_logprobs(fields: Mapping[str, object]) -> None:
    """Of each token of a prompt, so many others are told, and each is an object to Python."""
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
    """Of text, its characters; of tokens, their number; of several, all together."""
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], str | list):
        return sum(len(one) for one in prompt if isinstance(one, str | list))
    return len(prompt) if isinstance(prompt, str | list) else 0


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
        or isinstance(tool, dict)
        or tool == "required"
    )


def must_call(fields: Mapping[str, object]) -> bool:
    """Whether the answer must have the form of a call of a tool."""
    if "tool_choice" not in fields and "tools" not in fields:
        return False
    choice, tools = fields.get("tool_choice"), fields.get("tools")
    kind = choice.get("type") if isinstance(choice, dict) else choice
    return kind not in (None, "auto", "none") or any(
        one.get("strict") or (isinstance(f := one.get("function"), dict) and f.get("strict"))
        for one in (tools if isinstance(tools, list) else ())
        if isinstance(one, dict)  # a route without tools has no rule for them
    )
