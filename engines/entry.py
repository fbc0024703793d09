"""Starts SGLang so that only the router can use its port.

`ENGINE_PYTHON` runs it, as `python entry.py LISTENER,KEY sglang.launch_server FLAGS...`, with
two inherited files: a socket that is bound to the engine's port, and a pipe with a random key.
It can import only the standard library and what SGLang brings along.

`LISTENER,KEY,LISTENER,KEY`: the second two are for the gate, where the engine is to wait
before it loads (`engines/gate.py`). SGLang serves it in another process, a child that it starts
by `multiprocessing`. So every such child is run by this file, too, and has only these two.

SGLang has no socket but a TCP port, which every user of the machine can reach, and through a
browser every web page. Its own `--api-key` stands on the command line and in the log, and
leaves `/health`, `/metrics` and every OPTIONS request open. So the lock is put in front of
SGLang's application, in the library that serves it, for every request. A mode that serves in
another way (several HTTP processes, HTTP/2, gRPC) can't bind the port, and ends: it is taken.
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
_CHILD = "--multiprocessing-fork"  # the last word of such a child's command line


class Configured(Protocol):
    """Of `uvicorn.Config`: what it serves."""

    loaded_app: Application


class Prepared(Protocol):
    """Of `requests.PreparedRequest`: what goes out."""

    url: str
    headers: MutableMapping[str, str]


class Lock:
    """An ASGI application that lets only requests with the key through to another one."""

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
    """The bound socket and the key. Neither is left to a child."""
    with os.fdopen(pipe, "rb") as stream:
        key = stream.read(_LONGEST_KEY).decode()
    bound = socket.socket(fileno=listener)
    bound.set_inheritable(False)
    return bound, key


def lock(listener: socket.socket, key: str) -> None:
    """Have uvicorn serve on `listener`, behind a `Lock`."""
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
    """SGLang warms itself up over HTTP."""
    requests = importlib.import_module("requests")
    send = requests.Session.send

    def signed_send(session: object, request: Prepared, **options: object) -> object:
        if request.url.startswith(f"http://127.0.0.1:{port}/"):
            request.headers["Authorization"] = f"Bearer {key}"
        return send(session, request, **options)

    requests.Session.send = signed_send


def hand_down(listener: socket.socket, key: str) -> None:
    """Have each child that `multiprocessing` spawns run by this file, with these two."""
    spawn: Spawn = util.spawnv_passfds

    def spawn_behind_lock(path: bytes, args: Sequence[str], files: Sequence[int]) -> int:
        if args[-1] != _CHILD:  # the tracker of resources
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
    """Keep other processes of the same user from reading the key in this one's memory."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")


def main() -> None:
    _, files, module, *flags = sys.argv
    if module == "-c":
        _run_child(files, *flags)
    hide_memory()
    if not getattr(sys.flags, "safe_path", False):
        del sys.path[0]  # this directory: its modules have names that others have, too
    door, key, *gate = map(int, files.split(","))
    listener, opens = inherited(door, key)
    lock(listener, opens)
    sign_own_requests(listener.getsockname()[1], opens)
    if gate:
        hand_down(*inherited(*gate))
    sys.argv = [module, *flags]
    # As `python -m` would: the processes that SGLang starts import this module again by name.
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _run_child(files: str, program: str, *flags: str) -> NoReturn:
    """As `python -c PROGRAM` would.

    It stays as open to other processes of its user as SGLang's processes are: who can
    read their memory needs no key.
    """
    lock(*inherited(*map(int, files.split(","))))
    sys.argv = ["-c", *flags]
    exec(program, {"__name__": "__main__"})  # noqa: S102 - written by multiprocessing
    sys.exit()


if __name__ == "__main__":
    main()
