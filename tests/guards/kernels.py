"""Guards: compiled kernels are code, and no engine can plant them for another engine."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import never, swap

_TEST = "tests/engines/test_kernel_cache.py::test_"

GUARDS = (
    Guard(
        "Only engines of the operator's models without own code have a part in kept kernels",
        "engines.kernel_cache:KernelCache.open",
        swap("not spec.trusted", "True"),
        _TEST + "what_is_not_the_operators_or_runs_its_own_code_has_no_part",
    ),
    Guard(
        "Kept kernels are of the operator's models alone",
        "engines.kernel_cache:KernelCache.open",
        swap("spec.listed", "True"),
        _TEST + "what_is_not_the_operators_or_runs_its_own_code_has_no_part",
    ),
    Guard(
        "An engine that could write to the volume has no part in kept kernels",
        "engines.kernel_cache:KernelCache.open",
        swap("int(uid) == os.geteuid()", "False"),
        _TEST + "an_engine_that_could_write_to_the_volume_has_no_part",
    ),
    Guard(
        "A worker that has run a stranger's engine keeps no more kernels",
        "engines.kernel_cache:KernelCache.keep",
        swap("not self._only_operators", "False"),
        _TEST + "a_worker_that_has_run_a_strangers_engine_keeps_no_more",
    ),
    Guard(
        "Kernels that others may have written are not used",
        "engines.kernel_cache:KernelCache._open",
        swap("all(_1)", "True"),
        _TEST + "an_archive_that_others_may_have_written_is_not_used",
    ),
    Guard(
        "One model's kernels are no other's",
        "engines.kernel_cache:KernelCache._open",
        swap("_digest(_1)", "'one'"),
        _TEST + "no_other_models_engine_finds_them",
    ),
    Guard(
        "An engine has only its own files kept",
        "engines.kernel_archive:pack",
        never("owner"),
        _TEST + "an_engine_can_not_have_the_routers_files_packed",
    ),
    Guard(
        "Kernels are unpacked within their directory",
        "engines.kernel_archive:unpack",
        never("is_absolute"),
        _TEST + "nothing_is_unpacked_but_files_within",
    ),
)
