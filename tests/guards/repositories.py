"""A repository is data: nothing in it runs, unless the operator trusts it by name."""

from __future__ import annotations

from tests.guards.guard import Guard

GUARDS = (
    Guard(
        "a stranger's model runs no code of its own, whatever SGLang thinks of the flag",
        "engines/command.py",
        "    if not spec.trusted:\n",
        "    if False:\n",
        "tests/e2e_sglang/test_hostile_models.py::"
        "test_a_strangers_model_does_not_run_its_own_code",
    ),
    Guard(
        "TRUST_REMOTE_CODE and ENGINE_ARGS hold for the operator's models only",
        "router/catalogue.py",
        "(f for f in flags if not trusts(f))",
        "(f for f in flags)",
        "tests/test_catalogue.py::test_a_strangers_model_never_runs_its_own_code",
    ),
    Guard(
        "pickles are no weights",
        "router/weights.py",
        "if not weights and unsafe_weights:",
        "if not weights:",
        "tests/test_download.py::test_a_model_without_safetensors_is_unsupported",
    ),
    Guard(
        "an engine sees no secret of the worker's",
        "engines/command.py",
        "passed = {name: value for name, value in environ.items() if _may_see(name)}",
        "passed = dict(environ)",
        "tests/engines/test_command.py::test_an_engine_sees_nothing_else",
    ),
    Guard(
        "an engine asks the Hub nothing",
        "engines/command.py",
        '"HF_HUB_OFFLINE": "1"',
        '"HF_HUB_OFFLINE": "0"',
        "tests/engines/test_command.py::test_an_engine_is_offline_whatever_the_worker_is",
    ),
)
