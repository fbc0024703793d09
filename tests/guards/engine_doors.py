"""An engine's port serves nobody but the router."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import insert, never, swap

_ENTRY = "tests/engines/test_entry.py::test_"
_LAUNCHER = "tests/engines/test_launcher.py::test_"

GUARDS = (
    Guard(
        "An engine answers only requests with its key",
        "engines.entry:Lock.__call__",
        swap("_1 or _2", "True"),
        _ENTRY + "only_the_key_opens_the_door",
    ),
    Guard(
        "The key must be the right one",
        "engines.entry:Lock.opens",
        swap("hmac.compare_digest(_1, _2)", "bool(_1)"),
        _ENTRY + "only_the_key_opens_the_door",
    ),
    Guard(
        "A websocket is no way around the door",
        "engines.entry:Lock.__call__",
        swap("_1 == 'lifespan'", "_1 != 'http'"),
        _ENTRY + "a_websocket_is_refused",
    ),
    Guard(
        "Whatever uvicorn serves is behind the lock",
        "engines.entry:lock",
        swap("locked_load", "load"),
        _ENTRY + "only_the_key_opens_the_door",
    ),
    Guard(
        "Without a key nothing is served",
        "engines.entry:lock",
        never("key"),
        _ENTRY + "without_a_key_nothing_is_served",
    ),
    Guard(
        "An engine that serves without the key is not used",
        "engines.launcher:SglangLauncher._poll",
        never("FORBIDDEN"),
        _LAUNCHER + "an_engine_that_serves_without_the_key_fails_the_start",
    ),
    Guard(
        "Nobody can take the port before the engine does",
        "engines.door:new_door",
        insert("listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)", before="bind"),
        _LAUNCHER + "nobody_takes_the_port_while_the_engine_loads",
    ),
    Guard(
        "Flags that open another door are refused, however they are spelled",
        "engines.flags:refuse_reserved",
        swap("_1.replace('_', '-')", "_1"),
        "tests/engines/test_flags.py::test_a_flag_that_opens_another_door_is_refused",
    ),
)
