"""The lock in front of an engine's application, with a real uvicorn on a real socket."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest

from engines import entry
from engines.engine_port import EnginePort, bind_port

pytestmark = pytest.mark.process

WITHIN = 90.0  # seconds; far more than anything here takes

# A stand-in for an engine: a module that serves an application with uvicorn, in one of several
# ways, and prints the answers to its requests to itself.
SERVER = """
import multiprocessing, sys, threading, requests, uvicorn
from pathlib import Path

async def application(scope, receive, send):
    if scope["type"] != "lifespan":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"secret"})

def in_child(port):
    if port == "none":
        as_usual = (len(sys.argv), Path(sys.argv[0]).name) == (4, "served.py")
        sys.exit(3 if as_usual else 4)
    uvicorn.run(application, host="127.0.0.1", port=int(port), log_level="error")

port, way = int(sys.argv[1]), sys.argv[2]
if way == "run":
    uvicorn.run(application, host="127.0.0.1", port=port, log_level="error")
elif way == "itself":
    server = uvicorn.Server(uvicorn.Config(application, port=port, log_level="error"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        pass
    print(requests.get(f"http://127.0.0.1:{port}/ready").text)
elif way == "workers":
    uvicorn.run("served:application", host="127.0.0.1", port=port, workers=2)
elif way == "child" and __name__ == "__main__":  # the child, too, imports this module
    child = multiprocessing.get_context("spawn").Process(target=in_child, args=(sys.argv[3],))
    child.start()
    child.join()
    print(child.exitcode)
elif way == "path":
    print([Path(place).name for place in sys.path][:2])
"""


@contextmanager
def served(directory: Path, way: str) -> Iterator[tuple[EnginePort, subprocess.Popen[str]]]:
    with bind_port() as port:
        process = run(directory, port.files, str(port.number), way)
    with ended(process):
        yield port, process


@contextmanager
def served_by_child(
    directory: Path,
) -> Iterator[tuple[EnginePort, EnginePort, subprocess.Popen[str]]]:
    """The engine's port, and the gate served by its child."""
    with bind_port() as port, bind_port() as gate:
        files = (*port.files, *gate.files)
        process = run(directory, files, str(port.number), "child", str(gate.number))
    with ended(process):
        yield port, gate, process


def run(directory: Path, files: tuple[int, ...], *arguments: str) -> subprocess.Popen[str]:
    (directory / "served.py").write_text(SERVER)
    return subprocess.Popen(
        [sys.executable, entry.__file__, ",".join(map(str, files)), "served", *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(directory)},
        pass_fds=files,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    )


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with its child
        process.communicate()


def asked(
    port: EnginePort, *headers: tuple[str, str], method: str = "GET"
) -> tuple[int, bytes, set[str]]:
    """The status, the body and the header names. Waits until the port is served."""
    while True:
        with (
            suppress(ConnectionRefusedError),
            closing(HTTPConnection("127.0.0.1", port.number, timeout=WITHIN)) as connection,
        ):
            connection.putrequest(method, "/anything")
            for name, value in headers:
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, answer.read(), {name.lower() for name in answer.headers}
        time.sleep(0.01)


def test_a_port_answers_only_requests_with_its_key(tmp_path: Path) -> None:
    with served(tmp_path, "run") as (port, _):
        key = port.key.reveal()
        right = ("Authorization", f"Bearer {key}")
        strangers: list[tuple[tuple[str, str], ...]] = [
            (),
            (("Authorization", key),),
            (("Authorization", f"bearer {key}"),),
            (("Authorization", f"Bearer {key[:-1]}"),),
            (("Authorization", f"Bearer {key} "), ("Authorization", "Bearer other")),
            (right, right),
            (("Cookie", f"Authorization=Bearer {key}"),),
            (("Origin", "http://page.example"), ("Sec-Fetch-Site", "cross-site")),
        ]
        assert asked(port, right)[:2] == (200, b"secret")
        for headers in strangers:
            for method in ("GET", "POST", "OPTIONS", "HEAD"):
                status, body, names = asked(port, *headers, method=method)
                assert (status, body) == (403, b""), headers
                assert not [name for name in names if name.startswith("access-")]


def test_an_engine_reaches_its_own_port(tmp_path: Path) -> None:
    with served(tmp_path, "itself") as (_, process):
        assert process.communicate(timeout=WITHIN)[0] == "secret\n"


def test_servers_that_would_not_be_locked_can_not_bind_the_port(tmp_path: Path) -> None:
    """Each would be another process, without the key and the lock."""
    with served(tmp_path, "workers") as (_, process):
        assert "Address already in use" in process.communicate(timeout=WITHIN)[0]
        assert process.returncode != 0


def test_an_engine_imports_nothing_from_the_directory_of_its_entry(tmp_path: Path) -> None:
    with served(tmp_path, "path") as (_, process):
        assert "engines" not in process.communicate(timeout=WITHIN)[0]


def test_without_a_key_nothing_is_served(tmp_path: Path) -> None:
    readable, writable = os.pipe()
    os.close(writable)
    with bind_port() as port:
        listener, key = entry.inherited(os.dup(port.files[0]), readable)
        with listener, pytest.raises(SystemExit):
            entry.lock(listener, key)


async def test_a_websocket_is_refused() -> None:
    sent: list[entry.Scope] = []

    async def application(*_: object) -> None:
        pytest.fail("it got through")

    async def receive() -> entry.Scope:
        return {}

    async def send(message: entry.Scope) -> None:
        sent.append(message)

    lock = entry.Lock(application, secrets.token_hex())
    await lock({"type": "websocket", "headers": []}, receive, send)
    assert sent == [{"type": "websocket.close"}]


def test_only_its_own_key_opens_a_gate_that_a_child_serves(tmp_path: Path) -> None:
    with served_by_child(tmp_path) as (port, gate, _):
        right = ("Authorization", f"Bearer {gate.key.reveal()}")
        assert asked(gate, right)[:2] == (200, b"secret")
        assert asked(gate)[:2] == (403, b"")
        assert asked(gate, ("Authorization", f"Bearer {port.key.reveal()}"))[:2] == (403, b"")


def test_no_process_shows_the_keys_of_a_port_and_a_gate(tmp_path: Path) -> None:
    with served_by_child(tmp_path) as (port, gate, process):
        asked(gate)
        group = session(process.pid)
        assert len(group) >= 2
        shown = b"".join(
            Path(f"/proc/{pid}/{file}").read_bytes()
            for pid in group
            for file in ("cmdline", "environ")
        )
        for key in (port.key, gate.key):
            assert key.reveal().encode() not in shown


def test_a_child_behind_a_gate_is_as_multiprocessing_makes_it(tmp_path: Path) -> None:
    with bind_port() as port, bind_port() as gate:
        process = run(tmp_path, (*port.files, *gate.files), str(port.number), "child", "none")
    with ended(process):
        assert process.communicate(timeout=WITHIN)[0] == "3\n"


def session(leader: int) -> list[int]:
    """The processes of the session."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(ProcessLookupError):
            if os.getsid(int(process.name)) == leader:
                found.append(int(process.name))
    return found
