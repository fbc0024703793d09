"""The API keys of the HTTP server's callers, and which caller each key belongs to."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import blake2b

from cachetools import LRUCache

from router.access.rates import Usage
from router.clock import Clock
from router.config.caller_keys import CallerKey, KeyModels, caller_of, sha256_of
from router.errors import InvalidApiKey
from router.secrets import digest_of, flaw_of

_SHOWN = 12  # characters of a digest
_WORKERS = 64  # other workers whose labels for keys are cached
_REVOKED = "The operator has revoked or disabled this API key."


class Keyring:
    """The operator's keys, as digests. Without keys, every request is admitted, all of them
    as the same caller.

    `keys` are those in API_KEYS, `named` those in the keys file, or None without a file. An
    empty file admits nobody.
    """

    def __init__(
        self,
        keys: Collection[str] = (),
        named: Sequence[CallerKey] | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._digests = frozenset(map(digest_of, keys))
        self._plain = {caller_of(digest_of(key)): sha256_of(key) for key in keys}
        self._named: dict[str, CallerKey] = {}  # by caller
        self._named_digests: frozenset[str] = frozenset()
        self._by_shown: dict[str, str] = {}
        self._by_name: dict[str, str] = {}  # the caller of each name
        self._usage: dict[str, Usage] = {}  # by the name of the key
        self._clock, self._salt = clock, secrets.token_hex(8)
        self._by_salt = LRUCache[str, Mapping[str, str]](_WORKERS)
        self.needed = bool(keys) or named is not None
        self.become(named or ())

    def become(self, named: Sequence[CallerKey]) -> None:
        """Replace the keys of the file. A key that keeps its name keeps its usage."""
        self._named = {one.caller: one for one in named}
        self._named_digests = frozenset(one.digest for one in named)
        self._by_name = {one.name: one.caller for one in named}
        self._by_shown = {one.caller[:_SHOWN]: one.name for one in named}
        self._usage = {
            one.name: self._usage.get(one.name) or Usage(self._clock) for one in named
        }
        for one in named:
            self._usage[one.name].limit(one)

    def caller(self, offered: Iterable[str]) -> str:
        """The caller of the first valid key; "" if no key is needed. Raises `InvalidApiKey`."""
        if not self.needed:
            return ""
        wrong: list[str] = []
        disabled = False
        for key in offered:
            found = self._found(key)
            if found and not self._is_disabled(found):
                return found
            disabled = disabled or bool(found)
            wrong.append(key)
        if disabled:
            raise InvalidApiKey(_REVOKED)
        flaws = filter(None, map(flaw_of, wrong))
        raise InvalidApiKey(
            "The API key is missing or wrong"
            + "".join(f" ({flaw})" for flaw in itertools.islice(flaws, 1))
            + ": send `Authorization: Bearer <key>`. A Hugging Face token goes into "
            "`X-HF-Token`."
        )

    def name(self, caller: str) -> str:
        """The operator's name for this caller; "" if it has none."""
        key = self._named.get(caller)
        return "" if key is None else key.name

    def label(self, caller: str) -> str:
        """A label for the caller's key that another worker with the same keys understands.

        "" if there is no key. Send it only to that worker: a weak key in API_KEYS could be
        guessed from its label.
        """
        if name := self.name(caller):
            return f"name {name}"
        key = self._plain.get(caller)
        return f"key {self._salt} {_salted(self._salt, key)}" if key else ""

    def labelled(self, label: str) -> str:
        """The caller for another worker's `label`. Raises `InvalidApiKey` if this worker has
        no such key."""
        kind, _, text = label.partition(" ")
        salt, _, salted = text.partition(" ")
        found = (
            self._by_name.get(text) if kind == "name" else self._by_their_name(salt).get(salted)
        )
        if found:
            return found
        if label or self.needed:
            raise InvalidApiKey(_REVOKED)
        return ""

    def name_of_shown(self, shown: str | None) -> str:
        """Like `name`, for the first characters of a caller, as the state shows them."""
        return self._by_shown.get(shown or "", "")

    def models(self, caller: str) -> KeyModels | None:
        """The models that this caller may use; None: all. Raises `InvalidApiKey` if its key
        was revoked meanwhile."""
        key = self._named.get(caller)
        if key is None and (not self.needed or not caller or caller in self._plain):
            return None  # for example, a job of RunPod's queue has no key
        if key is None or key.disabled:
            raise InvalidApiKey(_REVOKED)
        return key.models

    def begin(self, caller: str) -> Usage | None:
        """Count a request of this caller until `Usage.end`; None if its key is not named.
        Raises `RateLimited`."""
        key = self._named.get(caller)
        if key is None:
            return None
        usage = self._usage[key.name]
        usage.begin()
        return usage

    def _by_their_name(self, salt: str) -> Mapping[str, str]:
        """The callers of API_KEYS, by the labels that a worker with this salt gives them."""
        if salt not in self._by_salt:
            self._by_salt[salt] = {
                _salted(salt, key): caller for caller, key in self._plain.items()
            }
        return self._by_salt[salt]

    def _found(self, key: str) -> str:
        """The caller of a key; "" if the key is unknown."""
        # The time of a lookup reveals nothing about a key: the digest depends on a secret of
        # this process, so a caller does not know the digest of the key it sends.
        if self._named_digests:
            named = digest_of(sha256_of(key))
            if named in self._named_digests:
                return caller_of(named)
        digest = digest_of(key)
        return caller_of(digest) if digest in self._digests else ""

    def _is_disabled(self, caller: str) -> bool:
        key = self._named.get(caller)
        return key is not None and key.disabled


def _salted(salt: str, key: str) -> str:
    """The salted digest of a key's digest."""
    return blake2b(key.encode(), key=salt.encode(), digest_size=16).hexdigest()
