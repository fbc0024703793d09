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
        "router/config/catalog.py",
        "(f for f in flags if not trusts(f))",
        "(f for f in flags)",
        "tests/config/test_catalog.py::test_a_strangers_model_never_runs_its_own_code",
    ),
    Guard(
        "pickles are no weights",
        "router/downloads/select_files.py",
        "if not weights and unsafe_weights:",
        "if not weights:",
        "tests/downloads/test_downloader.py::test_a_model_without_safetensors_is_unsupported",
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
    Guard(
        "a configuration that leads out of the repository starts no engine",
        "router/downloads/downloader.py",
        "        await asyncio.to_thread(inspect, found)\n",
        "",
        "tests/security/test_hostile_repositories.py::"
        "test_it_is_refused_before_an_engine_starts[reads-files2]",
    ),
    Guard(
        "no file of this machine is named by a model",
        "router/downloads/check_config.py",
        "if key not in _LEFT_BEHIND and _POINTS.search(key) and _LEADS_OUT.match(value):",
        "if False:",
        "tests/downloads/test_check_config.py::"
        "test_a_value_that_leads_out_of_the_repository_is_refused[vocab_file-/etc/passwd]",
    ),
    Guard(
        "no kernel comes from the Hub",
        "router/downloads/check_config.py",
        'if _KERNELS.fullmatch(key) and "/" in value:',
        "if False:",
        "tests/downloads/test_check_config.py::test_a_kernel_from_the_hub_is_code_and_refused",
    ),
    Guard(
        "a huge configuration is not read",
        "router/downloads/check_config.py",
        "if file.stat().st_size > MOST_BYTES:",
        "if False:",
        "tests/security/test_hostile_repositories.py::"
        "test_it_is_refused_before_an_engine_starts[huge-files5]",
    ),
    Guard(
        "nor are many large ones",
        "router/downloads/check_config.py",
        "if sum(file.stat().st_size for file in files) > MOST_IN_ALL:",
        "if False:",
        "tests/downloads/test_check_config.py::test_many_large_files_are_not_read",
    ),
    Guard(
        "a repository has so many files",
        "router/downloads/select_files.py",
        "if len(files) > MOST_FILES:",
        "if False:",
        "tests/downloads/test_select_files.py::test_a_listing_without_an_end_is_refused",
    ),
    Guard(
        "no file's name leads out of the repository",
        "router/downloads/select_files.py",
        "if not all(_is_safe(file.name) for file in files):",
        "if False:",
        "tests/downloads/test_select_files.py::test_a_name_that_is_not_safe_on_disk_is_refused[../config.json]",
    ),
)
