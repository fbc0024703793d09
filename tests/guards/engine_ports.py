"""Guards: an engine serves only the router, and can't read the router's secrets."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import body, drop, insert, never, set_to, swap

_ENTRY = "tests/engines/test_entry.py::test_"
_LAUNCHER = "tests/engines/test_launcher.py::test_"
_HIDDEN = "tests/test_concealment.py::test_"
_CONFINED = "tests/e2e/test_confined_engines.py::test_"

GUARDS = (
    Guard(
        "An engine answers only requests with its key",
        "engines.entry:Lock.__call__",
        swap("_1 or _2", "True"),
        _ENTRY + "a_port_answers_only_requests_with_its_key",
    ),
    Guard(
        "The key must be the right one",
        "engines.entry:Lock.opens",
        swap("hmac.compare_digest(_1, _2)", "bool(_1)"),
        _ENTRY + "a_port_answers_only_requests_with_its_key",
    ),
    Guard(
        "A websocket is no way around the lock",
        "engines.entry:Lock.__call__",
        swap("_1 == 'lifespan'", "_1 != 'http'"),
        _ENTRY + "a_websocket_is_refused",
    ),
    Guard(
        "Whatever uvicorn serves is behind the lock",
        "engines.entry:lock",
        swap("locked_load", "load"),
        _ENTRY + "a_port_answers_only_requests_with_its_key",
    ),
    Guard(
        "Without a key nothing is served",
        "engines.entry:lock",
        never("key"),
        _ENTRY + "without_a_key_nothing_is_served",
    ),
    Guard(
        "An engine that serves without the key is not used",
        "engines.readiness:until_locked",
        never("FORBIDDEN"),
        _LAUNCHER + "an_engine_that_serves_without_the_key_fails_the_start",
    ),
    Guard(
        "An engine whose gate lets anybody through is not used",
        "engines.gate:EngineGate.reached",
        drop("until_locked"),
        "tests/engines/test_gate.py::test_a_gate_that_lets_anybody_through_fails_the_start",
    ),
    Guard(
        "Nobody can take the port before the engine does",
        "engines.engine_port:bind_port",
        insert("listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)", before="bind"),
        _LAUNCHER + "nobody_takes_the_port_while_the_engine_loads",
    ),
    Guard(
        "Flags that open another port are refused, however they are spelled",
        "engines.flags:_among",
        swap("_1.replace('_', '-')", "_1"),
        "tests/engines/test_flags.py::test_a_flag_that_opens_another_port_is_refused",
    ),
    Guard(
        "Secrets are not in the environment that the router shows",
        "router.concealment:_is_harmless",
        body("return True"),
        _HIDDEN + "what_was_in_the_environment_is_there_but_does_not_show",
    ),
    Guard(
        "The router's memory and files are its own",
        "router.concealment:hide_environment",
        drop("hide_memory"),
        _HIDDEN + "no_process_of_the_same_user_reads_its_memory_or_files[mem]",
    ),
    Guard(
        "A download's memory is its own",
        "router.downloads.child:main",
        drop("hide_memory"),
        _CONFINED + "engines_of_another_user_see_nothing_of_the_router",
    ),
    Guard(
        "The supervisor's memory is its own",
        "engines.supervisor:Supervisor.__init__",
        drop("_PR_SET_DUMPABLE"),
        _CONFINED + "engines_of_another_user_see_nothing_of_the_router",
    ),
    Guard(
        "Engines of root run as a user of their own",
        "engines.supervisor:_become",
        drop("setresuid"),
        _CONFINED + "engines_of_root_run_as_a_user_of_their_own",
    ),
    Guard(
        "An engine that stays root has no capabilities",
        "engines.supervisor:_become",
        drop("_PR_SET_SECUREBITS"),
        _CONFINED + "engines_whose_user_could_not_read_a_model_lose_the_powers_of_root",
    ),
    Guard(
        "An engine has an empty HF_HOME of its own",
        "engines.command:environment",
        swap("str(workspace.cache)", "environ.get('HF_HOME', '')"),
        _CONFINED + "engines_of_root_run_as_a_user_of_their_own",
    ),
    Guard(
        "An engine has a working directory of its own",
        "engines.launcher:SglangLauncher._spawn",
        set_to("directory", "None"),
        _CONFINED + "engines_of_root_run_as_a_user_of_their_own",
    ),
)
