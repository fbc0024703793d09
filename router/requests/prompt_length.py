"""A lower bound of a prompt's length, computed without a tokenizer.

An engine parses and tokenizes a prompt between two steps of all other answers, and only then
refuses it: a prompt of megabytes blocks everybody's streams for a second. So a prompt that
can't fit in the model's context is refused here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from router.errors import InvalidRequest

# Longer than any token of the tokenizers in use: 128 spaces (Llama 3), 128 characters (o200k).
_LONGEST_TOKEN = 256  # characters
_PROMPTS = ("prompt", "text", "input_ids", "input", "query", "items", "documents")


class PromptLength(NamedTuple):
    """The length of the longest prompt in a request."""

    tokens: int = 0  # if it consists of token ids
    characters: int = 0  # if it is text

    @property
    def guess(self) -> int:
        """A guess at its number of tokens: one per four characters, as in English text."""
        return max(self.tokens, self.characters // 4)

    def check(self, context_length: int | None) -> None:
        """Raise `InvalidRequest` if it can't fit in the context. None: it is unknown."""
        if context_length is None:
            return
        if self.tokens > context_length:
            raise InvalidRequest(
                f"The prompt has {self.tokens} tokens, and this model's context is "
                f"{context_length}: send a shorter one."
            )
        if self.characters > context_length * _LONGEST_TOKEN:
            raise InvalidRequest(
                f"The prompt has {self.characters} characters, and this model's context is "
                f"{context_length} tokens: send a shorter one."
            )


def longest_prompt(fields: Mapping[str, object]) -> PromptLength:
    """The longest prompt of a body. A conversation counts as one prompt."""
    tokens = characters = 0
    for name in _PROMPTS:
        for prompt in _prompts(fields[name]) if name in fields else ():
            if isinstance(prompt, str):
                characters = max(characters, len(prompt))
            elif isinstance(prompt, list) and prompt and isinstance(prompt[0], int):
                tokens = max(tokens, len(prompt))
    for name in ("messages", "input"):
        if name not in fields:
            continue
        messages = _items(fields.get(name))
        if messages and isinstance(messages[0], dict):  # else one prompt of token ids
            characters = max(characters, sum(map(_characters, messages)))
    return PromptLength(tokens, characters)


def _prompts(value: object) -> Iterable[object]:
    """Yield one prompt, or those in a list. A list of numbers is one prompt of token ids."""
    if isinstance(value, list) and value and isinstance(value[0], str | list):
        return value
    return (value,)


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _characters(message: object) -> int:
    """The length of a message's text. Media do not count."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return len(content)
    texts = (part.get("text") for part in _items(content) if isinstance(part, dict))
    return sum(len(text) for text in texts if isinstance(text, str))
