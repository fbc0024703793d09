"""Guards: the engines' interpreter is checked before anything starts."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import drop, swap

_TEST = "tests/engines/test_interpreter.py::test_"

GUARDS = (
    Guard(
        "The engines' interpreter sees no secret, also when its version is asked",
        "engines.interpreter:InterpreterCheck.begin",
        swap("worker_part(environ)", "environ"),
        _TEST + "it_sees_no_secret_of_the_worker",
    ),
    Guard(
        "An interpreter that hangs leaves no process",
        "engines.interpreter:InterpreterCheck.finish",
        drop("_kill"),
        _TEST + "an_interpreter_that_hangs_holds_up_the_start_for_a_bounded_time",
    ),
)
