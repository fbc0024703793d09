"""The Hub stops whenever a test is done with it, whatever its clients do."""

from __future__ import annotations

import gc
import socket
import ssl
from urllib.parse import urlsplit

import pytest

from tests.loopback_hub import LoopbackHub

GET = b"GET /org/model/resolve/main/config.json HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize("first_bytes", [b"", b"\x16\x03\x01", GET])
def test_the_hub_leaves_no_connection_behind(first_bytes: bytes) -> None:
    with LoopbackHub() as hub:
        hub.add_repo("org/model", {"config.json": bytes(3_000_000)})
        address = urlsplit(hub.endpoint)
        connection = socket.create_connection(("127.0.0.1", address.port or 0))
        if first_bytes == GET:
            trust = ssl.create_default_context(cafile=hub.ca_file)
            connection = trust.wrap_socket(connection, server_hostname="localhost")
        connection.sendall(first_bytes)
    connection.close()
    gc.collect()  # reports unclosed resources now, which fails the test
