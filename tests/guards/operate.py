"""Guards of the commands that operate a running worker."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import never, swap

_TEST = "tests/commands/test_operate.py::test_"
_CLIENT = "router.commands.operate.client:WorkerClient."
_OPERATE = "router.commands.operate.command:operate"

GUARDS = (
    Guard(
        "A password in the worker's address is neither used nor repeated",
        _CLIENT + "__init__",
        never("username"),
        _TEST + "an_address_that_can_not_be_one_exits_with_2[http://me:pass@there]",
    ),
    Guard(
        "The operator's key goes over HTTP or HTTPS to a host that is named",
        _CLIENT + "__init__",
        swap("parts.scheme not in _", "False"),
        _TEST + "an_address_that_can_not_be_one_exits_with_2[ftp://there]",
    ),
    Guard(
        "An operator's key that no header can carry is not shown in an error",
        _CLIENT + "__init__",
        never("isprintable"),
        _TEST + "a_key_that_no_header_can_carry_is_refused_and_not_shown",
    ),
    Guard(
        "A command acts on the model that is named, whatever is in the name",
        "router.commands.operate.client:path_of",
        swap("quote(_1, safe=_)", "_1.replace(' ', '+')"),
        _TEST + "a_name_is_one_model_and_no_other_route",
    ),
    Guard(
        "What answers a command and is no worker is not taken for one",
        _CLIENT + "_parsed",
        never("isinstance"),
        _TEST + "what_is_no_worker_is_told",
    ),
    Guard(
        "A command that the worker refused has not succeeded",
        _CLIENT + "_answer",
        never("status"),
        _TEST + "a_refusal_is_told_and_exits_with_1",
    ),
    Guard(
        "What a worker refuses with steers no terminal",
        _OPERATE,
        swap("printable(line)", "line"),
        _TEST + "what_a_worker_refuses_with_steers_no_terminal",
    ),
    Guard(
        "What an engine has printed steers no terminal",
        "router.commands.output:Output.line",
        swap("printable(text) + _", "text + '\\n'"),
        _TEST + "logs_are_what_engines_have_printed",
    ),
    Guard(
        "`logs -f` and `top` alone end well at Ctrl-C: a deed may be half done",
        _OPERATE,
        never("command"),
        _TEST + "ctrl_c_in_a_deed_is_no_success",
    ),
)
