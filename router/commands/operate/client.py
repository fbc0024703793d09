"""Talks to the operator's routes of a running worker.

It uses `http.client`, which follows no redirects and uses no proxy, so the operator's key goes
only to the worker.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

from router.config.platform import detect
from router.config.settings import SETTINGS

Json = dict[str, Any]

_LARGEST = 64 << 20  # bytes of one answer
_PATIENCE = 30.0  # seconds; a stream says something at least every 10
_REFUSED = (
    "Check --url, MODEL_ROUTER_URL and PORT. A worker that drains takes no new connections: "
    "see its log, or use `drain --wait`"
)
_WITHOUT_KEY = (
    "Without ADMIN_API_KEY, a worker has routes for its operator only as long as it listens on "
    "loopback and its callers need no keys."
)
_SHOWN = 500  # characters of an answer that is not JSON


class WrongUse(Exception):
    """The address or the key can't be used."""


class WorkerUnreached(Exception):
    """No worker answers, or the server that answers is not a worker."""


class RefusedByWorker(Exception):
    """The worker refused the request. `answer` is the JSON that it sent."""

    def __init__(self, message: str, answer: Json) -> None:
        super().__init__(message)
        self.answer = answer


def url_of(given: str | None, environ: Mapping[str, str]) -> str:
    """The worker's URL: from the command line, else `MODEL_ROUTER_URL`, else this machine."""
    port = SETTINGS["PORT"].text(environ, detect(environ))
    return given or environ.get("MODEL_ROUTER_URL") or f"http://127.0.0.1:{port}"


class WorkerClient:
    """A client for the server at `url`. `key`: its `ADMIN_API_KEY`, or "" if it has none.

    Raises `WrongUse` if the URL or the key can't be used.
    """

    def __init__(self, url: str, key: str = "") -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = None
        if host is None or parts.scheme not in ("http", "https"):
            raise WrongUse("the worker's address has to look like http://127.0.0.1:8000")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise WrongUse("the worker's address takes no user, password, query or fragment")
        if key and not (key.isascii() and key.isprintable()):
            raise WrongUse("ADMIN_API_KEY has characters that no header can carry")
        self._secure, self._host, self._port = parts.scheme == "https", host, port
        self._base = parts.path.rstrip("/")
        self.address = f"{parts.scheme}://{parts.netloc}{self._base}"
        self._headers = {"x-api-key": key} if key else {}

    def get(self, path: str) -> Json:
        """Raises `WorkerUnreached`, `RefusedByWorker`."""
        return self._ask("GET", path, _PATIENCE)

    def post(self, path: str, *, patient: bool = False) -> Json:
        """Like `get`. With `patient`, it may take as long as the worker allows."""
        return self._ask("POST", path, None if patient else _PATIENCE)

    @contextmanager
    def events(
        self, path: str, quiet: Callable[[], None]
    ) -> Iterator[Iterator[tuple[str, Json]]]:
        """Yield server-sent events, as pairs of a name and its JSON.

        Raises what `get` raises, while they are read too. `quiet` is called at least every
        10 s while nothing happens.
        """
        with self._answer("GET", path, _PATIENCE) as answer:
            yield self._read_events(answer, quiet)

    def _ask(self, method: str, path: str, within: float | None) -> Json:
        with self._answer(method, path, within) as answer:
            return self._document(answer)

    @contextmanager
    def _answer(
        self, method: str, path: str, within: float | None
    ) -> Iterator[http.client.HTTPResponse]:
        with self._told():
            connection = self._connection(within)
        try:
            with self._told():
                connection.request(method, self._base + path, headers=self._headers)
                answer = connection.getresponse()
                if answer.status >= 300:
                    self._refuse(answer)
            yield answer
        finally:
            connection.close()

    def _connection(self, within: float | None) -> http.client.HTTPConnection:
        if self._secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=within, context=context
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=within)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            why = str(error) or type(error).__name__
            if isinstance(error, ConnectionRefusedError):
                why = f"{error.strerror}. {_REFUSED}"
            raise WorkerUnreached(f"no worker answers at {self.address}: {why}") from error

    def _refuse(self, answer: http.client.HTTPResponse) -> None:
        document = self._document(answer)
        try:
            error = document["error"]
            code, message = str(error["code"]), str(error["message"])
        except (KeyError, TypeError):
            raise self._no_worker(f"HTTP {answer.status}") from None
        if code == "invalid_api_key":
            sent = "not that of this worker" if self._headers else "not set here"
            message = f"The operator's key, ADMIN_API_KEY, is {sent}. {_WITHOUT_KEY}"
        elif code == "route_not_found" and "/admin/" not in message:
            message = f"{message} {_WITHOUT_KEY}"
        raise RefusedByWorker(f"{code}: {message}", document)

    def _document(self, answer: http.client.HTTPResponse) -> Json:
        with self._told():
            return self._parsed(answer.read(_LARGEST))

    def _parsed(self, content: bytes) -> Json:
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise self._no_worker(content[:_SHOWN].decode(errors="replace"))
        return document

    def _no_worker(self, said: str) -> WorkerUnreached:
        return WorkerUnreached(f"the server at {self.address} is not a worker: {said}")

    def _read_events(
        self, answer: http.client.HTTPResponse, quiet: Callable[[], None]
    ) -> Iterator[tuple[str, Json]]:
        name = ""
        while True:
            with self._told():
                line = answer.readline(_LARGEST)
            if not line:
                return
            field, _, value = line.rstrip(b"\r\n").partition(b": ")
            if field == b"event":
                name = value.decode(errors="replace")
            elif field == b"data":
                yield name, self._parsed(value)
            elif line.startswith(b":"):
                quiet()


def path_of(model: str, verb: str) -> str:
    """The path of an operator's action on a model."""
    name = model.encode(errors="surrogateescape")  # the bytes that the shell passed
    return f"/admin/models/{quote(name, safe='/@')}/{verb}"
