"""Guards: a repository is data, and none of its code runs unless the operator trusts it by
name."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import body, drop, never, set_to, swap, without

GUARDS = (
    Guard(
        "A model that the operator did not name runs none of its own code",
        "engines.command:environment",
        never("trusted"),
        "tests/e2e_sglang/test_hostile_models.py::"
        "test_a_strangers_model_does_not_run_its_own_code",
    ),
    Guard(
        "TRUST_REMOTE_CODE and ENGINE_ARGS apply to the operator's models only",
        "router.config.catalog:engine_spec",
        without("trusts"),
        "tests/config/test_catalog.py::test_a_strangers_model_never_runs_its_own_code",
    ),
    Guard(
        "Pickled weights are refused",
        "router.repository.weights:_without_index",
        never("unsafe_weights"),
        "tests/downloads/test_downloader.py::test_a_model_without_safetensors_is_unsupported",
    ),
    Guard(
        "An engine sees none of the worker's secrets",
        "engines.command:worker_part",
        without("_may_see"),
        "tests/engines/test_command.py::test_an_engine_sees_nothing_else",
    ),
    Guard(
        "An engine asks the Hub nothing",
        "engines.command:environment",
        set_to("HF_HUB_OFFLINE", "'0'"),
        "tests/engines/test_command.py::test_an_engine_is_offline_whatever_the_worker_is",
    ),
    Guard(
        "A configuration that leads out of the repository starts no engine",
        "router.downloads.downloader:SnapshotDownloader._fetch",
        swap("await self._fitness.plan(found, conditions)", "None"),
        "tests/downloads/test_downloader.py::test_what_is_refused_aside_is_refused",
    ),
    Guard(
        "A configuration names no file of this machine",
        "router.repository.check_config:check_config",
        never("_leads_out"),
        "tests/repository/test_check_config.py::"
        "test_a_value_that_leads_out_of_the_repository_is_refused[vocab_file-/etc/passwd]",
    ),
    Guard(
        "A configuration names no kernel on the Hub",
        "router.repository.check_config:check_config",
        never("_KERNELS"),
        "tests/repository/test_check_config.py::test_a_kernel_from_the_hub_is_code_and_refused",
    ),
    Guard(
        "A huge configuration file is not read",
        "router.repository.read_json:read_json",
        never("MAX_FILE_BYTES"),
        "tests/security/test_hostile_repositories.py::"
        "test_it_is_refused_before_an_engine_starts[huge-files5]",
    ),
    Guard(
        "Many large configuration files are not read",
        "router.repository.check_config:check_config",
        never("MAX_TOTAL_BYTES"),
        "tests/repository/test_check_config.py::test_many_large_files_are_not_read",
    ),
    Guard(
        "A repository with too many files is refused",
        "router.repository.listing:Listing.of",
        never("MAX_FILES"),
        "tests/repository/test_listing.py::test_a_listing_without_an_end_is_refused",
    ),
    Guard(
        "No file's name leads out of the repository",
        "router.repository.listing:Listing.of",
        never("_is_safe"),
        "tests/repository/test_listing.py::test_a_name_that_is_not_safe_on_disk_is_refused[../config.json]",
    ),
    Guard(
        "An adapter alone is not served as its base model",
        "router.downloads.child:SnapshotDownload._settle",
        never("is_adapter_alone"),
        "tests/downloads/test_downloader.py::test_an_adapter_is_refused_before_its_weights",
    ),
    Guard(
        "An adapter with further weights is not served as its base model",
        "router.downloads.child:SnapshotDownload._settle",
        never("is_adapter"),
        "tests/downloads/test_downloader.py::"
        "test_an_adapter_with_further_weights_is_refused_before_them",
    ),
    Guard(
        "An adapter's refusal repeats only the name of a repository",
        "router.repository.adapters:adapter_refused",
        without("_REPOSITORY"),
        "tests/repository/test_adapters.py::"
        "test_only_a_well_formed_name_is_repeated[/home/me/llama]",
    ),
    Guard(
        "Pickles that were allowed once are not found any more",
        "router.downloads.snapshots:has_safe_weights",
        never("UNSAFE"),
        "tests/downloads/test_downloader.py::"
        "test_pickles_that_were_allowed_once_are_not_found_any_more",
    ),
    Guard(
        "A repository's small files have a limit",
        "router.repository.small_files:bounded",
        never("MAX_SMALL_BYTES"),
        "tests/repository/test_select_files.py::test_small_files_have_a_limit",
    ),
    Guard(
        "A huge index of weights is not read",
        "router.repository.weight_index:check_index",
        never("MAX_INDEX_BYTES"),
        "tests/repository/test_read_facts.py::test_an_index_that_is_too_large_is_refused",
    ),
    Guard(
        "An index names a limited number of files",
        "router.repository.weight_index:indexed_files",
        swap("0 < _1 <= MAX_FILES", "0 < _1"),
        "tests/repository/test_read_facts.py::"
        "test_an_index_that_names_too_many_files_is_refused",
    ),
    Guard(
        "No file comes that an engine would not open",
        "router.repository.small_files:_is_opened",
        body("return name.endswith('.json')"),
        "tests/repository/test_select_files.py::test_only_what_an_engine_opens_is_downloaded",
    ),
    Guard(
        "A file that tells a model's task is asked for at the Hub alone, as is its token",
        "router.hub.small_file:read_small_file",
        never("owns"),
        "tests/hub/test_tasks.py::"
        "test_a_file_elsewhere_is_not_fetched_and_the_token_stays_home",
    ),
    Guard(
        "Such a file is small",
        "router.hub.small_file:_read",
        never("MAX_BYTES"),
        "tests/hub/test_tasks.py::test_only_a_small_file_is_read",
    ),
    Guard(
        "It is not unpacked",
        "router.hub.small_file:_read",
        never("Content-Encoding"),
        "tests/hub/test_tasks.py::test_a_compressed_file_is_not_read",
    ),
    Guard(
        "A model that only transcribes is not downloaded",
        "router.requests.authorization:Authorizer._authorize",
        drop("check_served"),
        "tests/requests/test_service.py::"
        "test_a_speech_model_is_refused_with_the_reason_before_anything_starts",
    ),
    Guard(
        "A model that no engine can serve costs no download of weights",
        "router.repository.check_snapshot:check_snapshot",
        drop("check_fitness"),
        "tests/e2e/test_fitness.py::"
        "test_an_unfit_model_is_refused_with_the_reason_before_its_weights_come",
    ),
    Guard(
        "A model that the GPU can't hold costs no download of weights",
        "router.repository.check_snapshot:planned",
        drop("check_plan"),
        "tests/downloads/test_plans.py::"
        "test_a_model_that_the_gpu_can_not_hold_is_refused_before_its_weights_come",
    ),
    Guard(
        "Weights that SGLang would leave out are never answered from",
        "router.repository.quantization:check_quantization",
        drop("_check_seen"),
        "tests/repository/test_fitness.py::"
        "test_quantized_weights_that_config_json_does_not_mention_are_refused",
    ),
    Guard(
        "A position table that SGLang can't compute costs no download of weights",
        "router.repository.fitness:check_fitness",
        drop("_check_encoder"),
        "tests/repository/test_fitness.py::"
        "test_an_encoder_whose_positions_sglang_can_not_compute_is_refused",
    ),
    Guard(
        "A snapshot on the disk is judged by the permission of each entry that uses it",
        "router.downloads.downloader:SnapshotDownloader._fetch",
        swap("self._fitness.plan(found, conditions)", "self._fitness.plan(found, None)"),
        "tests/e2e/test_fitness.py::"
        "test_code_of_its_own_is_judged_by_each_entrys_own_permission",
    ),
)
