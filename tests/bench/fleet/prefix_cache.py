"""The prefix cache of one replica: text that was read once need not be read again."""

from __future__ import annotations

from collections import OrderedDict

from tests.bench.fleet.conversations import Conversation


class PrefixCache:
    """Holds a limited number of tokens, and drops the least recently used first. A system
    prompt is held once for all conversations that begin with it."""

    def __init__(self, size: int) -> None:
        self._size, self.holds = size, 0
        self._tokens: OrderedDict[str, int] = OrderedDict()

    def known(self, one: Conversation, prompt: int) -> int:
        """The number of cached tokens at the beginning of this prompt, never including its
        last."""
        system = self._tokens.get(f"app {one.app}", 0)
        said = self._tokens.get(f"conversation {one.name}", 0)
        return min(prompt - 1, system + said if system else 0)

    def keep(self, one: Conversation, context: int) -> None:
        """Note that the replica has read or written so many tokens of the conversation."""
        self._put(f"conversation {one.name}", context - one.system)
        self._put(f"app {one.app}", one.system)
        while self.holds > self._size:
            _, tokens = self._tokens.popitem(last=False)
            self.holds -= tokens

    def _put(self, name: str, tokens: int) -> None:
        before = self._tokens.pop(name, 0)
        self._tokens[name] = max(before, tokens)
        self.holds += self._tokens[name] - before
