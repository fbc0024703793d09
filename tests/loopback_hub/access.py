"""Decides which accounts may see and read what, and words refusals like the Hub."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tests.loopback_hub.repositories import Repo


@dataclass(frozen=True, slots=True)
class Caller:
    """The account that a token belongs to."""

    account: str
    expired: bool = False
    limited: bool = False  # over the Hub's rate limit
    scope: frozenset[str] | None = None  # casefolded ids; None: not a fine-grained token


@dataclass(eq=False)
class Refusal(Exception):
    """An error answer. Without a `code`, it has no `X-Error-Code`; the Hub does this too."""

    status: int
    message: str
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Accounts:
    """Makes tokens on request, and knows the valid ones."""

    def __init__(self) -> None:
        self._callers: dict[str, Caller] = {}

    def add(self, account: str) -> str:
        token = "hf_" + secrets.token_hex(17)
        self._callers[token] = Caller(account)
        return token

    def expire(self, token: str) -> None:
        self._callers[token] = replace(self._callers[token], expired=True)

    def limit(self, token: str) -> None:
        self._callers[token] = replace(self._callers[token], limited=True)

    def restrict(self, token: str, repos: frozenset[str]) -> None:
        self._callers[token] = replace(self._callers[token], scope=repos)

    def caller(self, authorization: str | None) -> Caller | None:
        """The caller; None without a token. A bad token is refused even if none is needed."""
        if authorization is None:
            return None
        scheme, _, token = authorization.partition(" ")
        caller = self._callers.get(token)
        if scheme != "Bearer" or caller is None or caller.expired:
            raise Refusal(401, "Invalid credentials in Authorization header")
        if caller.limited:
            raise over_the_limit()
        return caller


def over_the_limit() -> Refusal:
    headers = {
        "RateLimit": '"api";r=0;t=55',
        "RateLimit-Policy": '"fixed window";"api";q=500;w=300',
    }
    return Refusal(429, "We had to rate limit you", headers=headers)


def require_sight(repo: Repo | None, caller: Caller | None) -> Repo:
    """Refuse a caller that must not know of the repository. Metadata need only this check."""
    if repo is None or (repo.private and not _is_member(repo, caller)):
        # The same words for both cases, so that nobody learns which one it is.
        if caller is None:
            raise Refusal(401, "Invalid username or password.")
        raise Refusal(404, "Repository not found", "RepoNotFound")
    if repo.disabled:
        raise Refusal(403, "Access to this resource is disabled.")
    if repo.private:
        _require_scope(repo, caller)
    return repo


def require_files(repo: Repo, caller: Caller | None) -> None:
    """Refuse a caller that may see this repository but not read its files."""
    _require_scope(repo, caller)
    if not repo.gated:
        return
    if caller is None:
        raise Refusal(
            401,
            f"Access to model {repo.id} is restricted. You must have access to it and be "
            "authenticated to access it. Please log in.",
            "GatedRepo",
        )
    if caller.account not in repo.accepted | {repo.owner}:
        raise Refusal(403, _before_the_gate(repo, caller.account), "GatedRepo")


def _before_the_gate(repo: Repo, account: str) -> str:
    match repo.reviews.get(account):
        case "pending":
            state = "is awaiting a review from the repo authors."
        case "rejected":
            state = "has been rejected by the repo's authors."
        case None:
            return (
                f"Access to model {repo.id} is restricted and you are not in the authorized "
                "list. Ask for access on its page."
            )
    return f"Your request to access model {repo.id} {state}"


def _is_member(repo: Repo, caller: Caller | None) -> bool:
    return caller is not None and caller.account in repo.shared | {repo.owner}


def _require_scope(repo: Repo, caller: Caller | None) -> None:
    # Stricter than the Hub, which needs no scope for a public repository without a gate.
    if caller is None or caller.scope is None or repo.id.casefold() in caller.scope:
        return
    raise Refusal(403, "Your fine-grained token does not include this repository")
