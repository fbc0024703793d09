"""`API_KEYS_FILE`: keys with names, models and rates, as YAML.

A list of entries (`keys_schema.KeyEntry`), or a mapping with the one key `keys`. Errors repeat
nothing from the file, because an API key may be in the wrong place.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from router.config.caller_keys import CallerKey, CallerKeys, sha256_of
from router.config.entries import EntriesFile, EntryPlace
from router.config.keys_schema import KeyEntry
from router.config.parsers import as_key
from router.secrets import Secret

KEY = "API_KEYS_FILE"
_FILE = EntriesFile(KEY, root="keys", noun="keys", secret=True)
_NEEDS = {"name": "a name for the caller"}
_SOURCES = ("key", "key_env", "sha256")


def read(
    path: Path, environ: Mapping[str, str] | None = None, others: Iterable[Secret] = ()
) -> CallerKeys:
    """Read the file. `others` are keys in other settings, which the file must not repeat.

    Raises `SettingsError`.
    """
    found = parse(_FILE.contents(str(path)), environ or {}, others, str(path))
    shown = found.secrets and path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)
    warning = f"others can read {path} ({KEY}), which holds keys: chmod 600" if shown else ""
    return CallerKeys(found.keys, found.secrets, warning)


def parse(
    text: str,
    environ: Mapping[str, str],
    others: Iterable[Secret] = (),
    path: str | None = None,
) -> CallerKeys:
    """Read the YAML. `path` is its file, for errors. Raises `SettingsError`."""
    secrets: list[Secret] = []
    taken = {sha256_of(other.reveal()): "another setting" for other in others}
    names: set[str] = set()

    def key(where: EntryPlace, entry: object) -> CallerKey:
        where, one = where.validated(entry, KeyEntry, _NEEDS)
        source, digest, secret = _source(where, one, environ)
        if one.name in names:
            raise where.refusal("name", one.name, "a name that only one entry has")
        if digest in taken:
            raise where.refusal(source, "", f"a key that {taken[digest]} does not have")
        names.add(one.name)
        taken[digest] = f"entry {where.number}"
        secrets.extend(filter(None, [secret]))
        return CallerKey(
            name=one.name,
            sha256=digest,
            models=one.models,
            requests=one.requests_per_minute,
            tokens=one.tokens_per_minute,
            max_concurrency=one.max_concurrency,
            disabled=one.disabled,
        )

    keys = _FILE.read(text, key, path)
    return CallerKeys(tuple(keys), tuple(secrets))


def _source(
    where: EntryPlace, one: KeyEntry, environ: Mapping[str, str]
) -> tuple[str, str, Secret | None]:
    """The name of the field with the key, the key's digest, and the key itself if known."""
    given = [name for name in _SOURCES if getattr(one, name) is not None]
    if len(given) != 1:
        raise where.refusal(
            given[1] if given else "", given, "one of `key`, `key_env` and `sha256`"
        )
    if one.sha256 is not None:
        return "sha256", one.sha256, None
    if one.key is not None:
        return "key", sha256_of(one.key.reveal()), one.key
    variable = one.key_env or ""
    try:
        secret = as_key(environ.get(variable, "").strip())
    except ValueError as error:
        raise where.refusal("key_env", variable, f"a variable that holds {error}") from None
    return "key_env", sha256_of(secret.reveal()), secret
