"""Starts SGLang so that only the router can use its port.

`ENGINE_PYTHON` runs it as `python entry.py LISTENER,KEY sglang.launch_server FLAGS...`, with
two inherited files: a socket that is bound to the engine's port, and a pipe with a random key.
It can import only the standard library and SGLang's own dependencies.

`LISTENER,KEY,LISTENER,KEY`: the second pair is for the gate, where the engine waits before it
loads (`engines/gate.py`). SGLang serves the gate in a child process that it starts with
`multiprocessing`. So this file also runs every such child, with the second pair only.

SGLang listens only on a TCP port. Every user of the machine can reach it and, through a
browser, every web page. Its own `--api-key` shows on the command line and in the log, and
leaves `/health`, `/metrics` and every OPTIONS request open. So this file puts a lock in front
of SGLang's application, inside uvicorn, for every request. A mode that serves without uvicorn
(several HTTP processes, HTTP/2, gRPC) fails to bind the port, which is taken, and ends.
"""

from __future__ import annotations

import ctypes
import hmac
import importlib
import os
import runpy
import socket
import sys
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from multiprocessing import util
from typing import Any, NoReturn, Protocol

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Spawn = Callable[[bytes, Sequence[str], Sequence[int]], int]

_PR_SET_DUMPABLE = 4
_LONGEST_KEY = 1024  # bytes
_CHILD = "--multiprocessing-fork"  # the last word of a multiprocessing child's command line


class Configured(Protocol):
    """The part of `uvicorn.Config` used here: the application that it serves."""

    loaded_app: Application


class Prepared(Protocol):
    """The part of `requests.PreparedRequest` used here."""

    url: str
    headers: MutableMapping[str, str]


class Lock:
    """ASGI middleware: it passes on requests with the key and answers 403 to all others."""

    def __init__(self, application: Application, key: str) -> None:
        self._application = application
        self._expected = f"Bearer {key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self.opens(scope["headers"]):
            await self._application(scope, receive, send)
        elif scope["type"] == "http":
            headers = [(b"content-length", b"0"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body"})
        else:
            await send({"type": "websocket.close"})  # before it was accepted: status 403

    def opens(self, headers: list[tuple[bytes, bytes]]) -> bool:
        given = [value for name, value in headers if name == b"authorization"]
        return len(given) == 1 and hmac.compare_digest(given[0], self._expected)


def inherited(listener: int, pipe: int) -> tuple[socket.socket, str]:
    """The bound socket and the key. No child process inherits them."""
    with os.fdopen(pipe, "rb") as stream:
        key = stream.read(_LONGEST_KEY).decode()
    bound = socket.socket(fileno=listener)
    bound.set_inheritable(False)
    return bound, key


def lock(listener: socket.socket, key: str) -> None:
    """Make uvicorn serve on `listener`, behind a `Lock`."""
    if not key:
        raise SystemExit("the engine got no key for its port")
    uvicorn = importlib.import_module("uvicorn")
    load, startup = uvicorn.Config.load, uvicorn.Server.startup

    def locked_load(config: Configured) -> None:
        load(config)
        config.loaded_app = Lock(config.loaded_app, key)

    async def startup_on_listener(
        server: object, sockets: Sequence[socket.socket] | None = None
    ) -> None:
        await startup(server, sockets=sockets or [listener])

    uvicorn.Config.load, uvicorn.Server.startup = locked_load, startup_on_listener


def sign_own_requests(port: int, key: str) -> None:
    """Add the key to SGLang's requests to itself: it warms itself up over HTTP."""
    requests = importlib.import_module("requests")
    send = requests.Session.send

    def signed_send(session: object, request: Prepared, **options: object) -> object:
        if request.url.startswith(f"http://127.0.0.1:{port}/"):
            request.headers["Authorization"] = f"Bearer {key}"
        return send(session, request, **options)

    requests.Session.send = signed_send


def hand_down(listener: socket.socket, key: str) -> None:
    """Run each child that `multiprocessing` spawns through this file, with this pair."""
    spawn: Spawn = util.spawnv_passfds

    def spawn_behind_lock(path: bytes, args: Sequence[str], files: Sequence[int]) -> int:
        if args[-1] != _CHILD:  # multiprocessing's resource tracker
            return spawn(path, args, files)
        at = args.index("-c")
        readable, writable = os.pipe()
        with os.fdopen(writable, "wb") as pipe:
            pipe.write(key.encode())  # fits into the pipe's buffer
        own = (listener.fileno(), readable)
        through = (__file__, ",".join(map(str, own)))
        try:
            return spawn(path, [*args[:at], *through, *args[at:]], [*files, *own])
        finally:
            os.close(readable)

    vars(util)["spawnv_passfds"] = spawn_behind_lock


def hide_memory() -> None:
    """Keep other processes of the same user from reading the key in this process's memory."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")


def main() -> None:
    _, files, module, *flags = sys.argv
    if module == "-c":
        _run_child(files, *flags)
    hide_memory()
    if not getattr(sys.flags, "safe_path", False):
        del sys.path[0]  # this directory: its modules would hide others of the same name
    port, key, *gate = map(int, files.split(","))
    listener, opens = inherited(port, key)
    lock(listener, opens)
    sign_own_requests(listener.getsockname()[1], opens)
    if gate:
        hand_down(*inherited(*gate))
    sys.argv = [module, *flags]
    # As `python -m` does: the processes that SGLang starts import this module again by name.
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _run_child(files: str, program: str, *flags: str) -> NoReturn:
    """Run `program` behind the lock, as `python -c PROGRAM` does.

    This process does not hide its memory: SGLang's other processes don't either, and a
    process that can read theirs needs no key.
    """
    lock(*inherited(*map(int, files.split(","))))
    sys.argv = ["-c", *flags]
    exec(program, {"__name__": "__main__"})  # noqa: S102 - written by multiprocessing
    sys.exit()


if __name__ == "__main__":
    main()
