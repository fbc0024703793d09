from __future__ import annotations

import asyncio
import socket
import subprocess
import sys

import pytest

from tests.unit_rule import watching


@pytest.mark.process
def test_a_process_is_noticed() -> None:
    with watching() as found:
        subprocess.run([sys.executable, "-c", ""], check=True)
    assert "subprocess.Popen" in found[0]


@pytest.mark.process
async def test_a_process_of_asyncio_is_noticed() -> None:
    with watching() as found:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
        await process.wait()
    assert "subprocess.Popen" in found[0]


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_a_socket_that_leads_out_of_this_machine_is_noticed(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with watching() as found, socket.socket(family, socket.SOCK_DGRAM) as out:
        out.connect_ex((address, 9))  # sends nothing
    assert address in found[0]


def test_loopback_is_allowed() -> None:
    with watching() as found, socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
    assert not found
