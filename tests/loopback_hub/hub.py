"""The Hub's interface for tests."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import trustme
from yarl import URL

from tests.loopback_hub.access import Accounts
from tests.loopback_hub.api import Api
from tests.loopback_hub.contents import Files
from tests.loopback_hub.exchange import Exchange
from tests.loopback_hub.faults import Faults
from tests.loopback_hub.files import Cdn, Resolve
from tests.loopback_hub.journal import Request
from tests.loopback_hub.lookup import Lookup
from tests.loopback_hub.repositories import Gate, Repo, Repositories, Review
from tests.loopback_hub.server import Server


class LoopbackHub:
    """A Hub and its CDN on ephemeral ports of `localhost`, during a `with` block.

    Everything may be called from any thread, even while requests run. An unknown repository or
    token raises `KeyError`.
    """

    endpoint: str  # the Hub's base URL
    cdn: str  # base URL of the other origin, which serves LFS files
    ca_file: Path  # PEM of the authority that signed both origins' certificates

    def __init__(self) -> None:
        self.faults = Faults()
        self.requests: list[Request] = []  # in order of arrival
        self._accounts = Accounts()
        self._repositories = Repositories()
        lookup = Lookup(self._accounts, self._repositories)
        self._api = Api(lookup)
        self._cdn = Cdn(self._repositories)
        self._resolve = Resolve(lookup, self._cdn)

    def __enter__(self) -> Self:
        exchange = Exchange(self._accounts, self.faults, self.requests)
        hub, cdn = exchange.application(), exchange.application()
        self._api.add_routes(hub)
        self._resolve.add_routes(hub)
        self._cdn.add_routes(cdn)
        self._folder = tempfile.TemporaryDirectory(prefix="loopback-hub-")
        self.ca_file = Path(self._folder.name) / "ca.pem"
        self._authority, self._tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.cert_pem.write_to_path(str(self.ca_file))
        self.certify(timedelta(days=1))
        self._server = Server(self._tls, [hub, cdn])
        self.endpoint, self.cdn = self._server.origins
        self._cdn.origin = self.cdn
        return self

    def __exit__(self, *_: object) -> None:
        self.faults.clear()
        self._server.stop()
        self._folder.cleanup()

    def environment(self) -> dict[str, str]:
        """The environment that lets a client process find and trust this Hub."""
        return {"HF_ENDPOINT": self.endpoint, "SSL_CERT_FILE": str(self.ca_file)}

    def patient_environment(self) -> dict[str, str]:
        """The environment of a client that asks again after a minute, and so, as a rule, once,
        however long a fault lasts. By default it asks again after 10 seconds, which are few on
        a busy machine."""
        patience = dict.fromkeys(("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"), "60")
        return self.environment() | patience

    def add_account(self, account: str) -> str:
        """Make a token for a new or existing account."""
        return self._accounts.add(account)

    def expire(self, token: str) -> None:
        self._accounts.expire(token)

    def limit(self, token: str) -> None:
        """From now on, answer requests with this token with 429."""
        self._accounts.limit(token)

    def publish(self, repo_id: str, *, private: bool) -> None:
        """Make a repository private or public."""
        self._repositories.change(repo_id, lambda repo: replace(repo, private=private))

    def restrict(self, token: str, repos: Collection[str] = ()) -> None:
        """Make it a fine-grained token for the files of `repos` only."""
        self._accounts.restrict(token, frozenset(repo.casefold() for repo in repos))

    def add_repo(
        self,
        repo_id: str,
        files: Files,
        *,
        owner: str | None = None,
        private: bool = False,
        gated: Gate = False,
        branch: str = "main",
    ) -> str:
        """Create a repository with one commit, and return the commit's hash.

        `files` maps paths to bytes, or is a directory. Without `owner`, the account named like
        the repository's organization owns it.
        """
        repo = Repo(repo_id, owner or repo_id.partition("/")[0], private, gated)
        repo = repo.committed(files, branch)
        self._repositories.add(repo)
        return repo.branches[branch]

    def commit(self, repo_id: str, files: Files, branch: str = "main") -> str:
        """Add or replace files, and move the branch (or start it from `main`)."""
        repo = self._repositories.change(repo_id, lambda repo: repo.committed(files, branch))
        return repo.branches[branch]

    def tag(self, repo_id: str, tag: str, revision: str = "main") -> None:
        def tagged(repo: Repo) -> Repo:
            commit = repo.find(revision)
            if commit is None:
                raise KeyError(revision)
            return replace(repo, tags={**repo.tags, tag: commit.sha})

        self._repositories.change(repo_id, tagged)

    def accept(self, repo_id: str, account: str) -> None:
        """Let an account through a repository's gate."""
        self._repositories.change(
            repo_id, lambda repo: replace(repo, accepted=repo.accepted | {account})
        )

    def review(self, repo_id: str, account: str, state: Review) -> None:
        """Set an account's request for access to a gated repository to pending or rejected."""
        self._repositories.change(
            repo_id, lambda repo: replace(repo, reviews={**repo.reviews, account: state})
        )

    def share(self, repo_id: str, account: str) -> None:
        """Let an account see a private repository."""
        self._repositories.change(
            repo_id, lambda repo: replace(repo, shared=repo.shared | {account})
        )

    def withdraw(self, repo_id: str, account: str) -> None:
        """Undo `accept` and `share`."""
        self._repositories.change(
            repo_id,
            lambda repo: replace(
                repo, accepted=repo.accepted - {account}, shared=repo.shared - {account}
            ),
        )

    def rename(self, old: str, new: str) -> None:
        """Rename a repository. The old name redirects to the new one."""
        self._repositories.rename(old, new)

    def disable(self, repo_id: str) -> None:
        self._repositories.change(repo_id, lambda repo: replace(repo, disabled=True))

    def delete(self, repo_id: str) -> None:
        self._repositories.delete(repo_id)

    def certify(self, left: timedelta) -> None:
        """Use a certificate with so much time left for new connections; none left: expired."""
        until = datetime.now(UTC) + left
        since = until - timedelta(days=2)
        self._authority.issue_cert(
            "localhost", "127.0.0.1", not_before=since, not_after=until
        ).configure_cert(self._tls)

    def list_by(self, entries: int) -> None:
        """From now on, list trees with so many entries per page."""
        self._api.tree_page = entries

    def link_by(self, link: Callable[[URL], str]) -> None:
        """From now on, make the address of a listing's next page with `link`."""
        self._api.link = link

    def list_elsewhere(self, location: str | None) -> None:
        """From now on, redirect requests for listings to `location`."""
        self._api.detour = location

    def without_auth_check(self) -> None:
        """From now on, act as a mirror that lacks the auth-check route."""
        self._api.has_auth_check = False
