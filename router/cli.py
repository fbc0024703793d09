"""The command line: `model-router [command]`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn, TypeAlias

from engines import flags
from router import __version__
from router.config import listing
from router.config.options import add_options
from router.config.settings import SETTINGS
from router.redaction import redact

_DESCRIPTION = """\
One GPU worker, many models: each request names its model.

Without a command: `runpod` on a worker of RunPod's queue, else `serve`."""

_OPTIONS = """\
Each setting is a variable, and an option that overrides it. Tokens and keys are only variables,
because anyone on this machine can read a command line."""

_KEY = "If the worker has ADMIN_API_KEY, set that variable here too."

_UNTIL = {
    "load": "until it answers",
    "drain": "until it has ended, and show what it still does",
}

_MOST_USED = "most used settings (environment variables; `serve --help` lists all):"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status, which is 2 for invalid settings."""
    chosen = _parser().parse_args(arguments)
    # Imported late: `--help` and a mistyped command need nothing that the commands import.
    from router.commands.run import run  # noqa: PLC0415

    return run(chosen)


_Commands: TypeAlias = "argparse._SubParsersAction[_Parser]"  # noqa: SLF001 - the public API has no name for this type


class _Parser(argparse.ArgumentParser):
    """A parser whose errors redact a token that was typed in the wrong place."""

    def error(self, message: str) -> NoReturn:
        super().error(redact(message) + self._meant(message))

    def _meant(self, message: str) -> str:
        """A suggestion for a mistyped option or command; "" if nothing is close."""
        typed = re.search(r"arguments: (--[\w-]+)|invalid choice: '([\w-]+)'", message)
        if typed is None:
            return ""
        near = get_close_matches(typed[1] or typed[2], self.words(), n=1)
        return f". Did you mean {near[0]}?" if near else ""

    def words(self) -> Iterator[str]:
        """All commands and options, including the options of each command."""
        for action in self._actions:
            yield from action.option_strings
            choices = action.choices if isinstance(action.choices, dict) else {}
            for name, parser in choices.items():
                yield name
                yield from parser.words()


def _parser() -> argparse.ArgumentParser:
    most_used = listing.help_text(one for one in SETTINGS.values() if one.most_used)
    parser = _Parser(
        prog="model-router",
        description=_DESCRIPTION,
        epilog=f"{_MOST_USED}\n{most_used}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command")
    for name, purpose in (("serve", "serve over HTTP"), ("runpod", "take RunPod's jobs")):
        _add_worker(commands, name, purpose)
    _add_check(commands)
    doctor = commands.add_parser("doctor", help="is this machine ready for a worker?")
    _add_json(doctor)
    _add_cache(commands)
    _add_operating(commands)
    _add_ray(commands)
    demo = commands.add_parser("demo", help="show the main job: no GPU, network or token")
    demo.add_argument("--keep", action="store_true", help="leave it serving afterwards")
    prefetch = commands.add_parser("prefetch", help="download a model into an image")
    prefetch.add_argument("name", help="org/name or org/name@revision")
    prefetch.add_argument("--into", type=Path, required=True, help="directory to fill")
    prefetch.add_argument("--token-file", type=Path, help="file that holds a Hub token")
    replay = commands.add_parser("replay", help="show what the pool did, from POOL_JOURNAL")
    replay.add_argument("journal", type=Path, help="the file that POOL_JOURNAL named")
    _add_plan(commands)
    return parser


def _add_plan(commands: _Commands) -> None:
    plan = commands.add_parser(
        "plan", help="from a log of requests: which models to group, and how many workers"
    )
    plan.add_argument(
        "log",
        type=Path,
        help="log lines of LOG_FORMAT=json, or the answer of /admin/activity; `-`: stdin",
    )
    plan.add_argument(
        "--sizes",
        type=Path,
        action="append",
        metavar="FILE",
        help="output of `check --json` or `ps --json`; may be repeated",
    )
    plan.add_argument("--gpu-memory", metavar="SIZE", help="of each worker, such as 80GB")
    plan.add_argument(
        "--wait",
        type=_seconds,
        default=30.0,
        metavar="SECONDS",
        help="the longest wait for 95 of 100 requests; default: 30",
    )
    plan.add_argument(
        "--workers",
        type=_count,
        default=16,
        metavar="COUNT",
        help="most workers to try; default: 16",
    )
    plan.add_argument(
        "--requests",
        type=_count,
        default=4000,
        metavar="COUNT",
        help="most requests to simulate, from the busiest time; default: 4000",
    )
    _add_json(plan)


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < (value := float(text)) < float("inf"):
            return value
    raise argparse.ArgumentTypeError("it must be a number above 0")


def _count(text: str) -> int:
    with suppress(ValueError):
        if 0 < (value := int(text)) <= 1_000_000:
            return value
    raise argparse.ArgumentTypeError("it must be a whole number of 1 to 1,000,000")


def _gpus(text: str) -> float:
    with suppress(ValueError):
        value = float(text)
        if value == 0 or 0.01 <= value < 1 or (value > 0 and value.is_integer()):
            return value
    raise argparse.ArgumentTypeError("it must be a whole number, or a share such as 0.5")


def _add_worker(commands: _Commands, name: str, purpose: str) -> None:
    every = {**SETTINGS, **flags.SETTINGS}
    worker = commands.add_parser(
        name,
        help=purpose,
        usage=f"model-router {name} [--option value ...]",
        description=_OPTIONS,
        epilog=listing.option_help(SETTINGS.values(), flags.SETTINGS.values()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # a later version may add an option with that prefix
    )
    add_options(worker, every.values())


def _add_ray(commands: _Commands) -> None:
    actions = commands.add_parser("ray", help="a fleet of workers on Ray").add_subparsers(
        dest="action", metavar="action", required=True
    )
    up = actions.add_parser("up", help="run one on this machine, to try it, until Ctrl-C")
    up.add_argument(
        "--replicas", type=_count, default=1, metavar="COUNT", help="workers; default: 1"
    )
    up.add_argument(
        "--gpus",
        type=_gpus,
        default=1.0,
        metavar="COUNT",
        help="GPUs of each worker: 1 or more, a share such as 0.5, or 0 for CPU engines; "
        "default: 1",
    )


def _add_check(commands: _Commands) -> None:
    check = commands.add_parser(
        "check", help="ask before you pay: may this token use a model, and does it fit?"
    )
    check.add_argument(
        "models",
        metavar="MODEL",
        nargs="*",
        help="org/name[@revision], an alias, a directory, or a models file; "
        "default: those of MODEL_NAME and MODELS_CONFIG",
    )
    check.add_argument("--token-file", type=Path, help="file that holds a caller's Hub token")
    check.add_argument(
        "--gpu-memory", metavar="SIZE", help="memory of the GPU to assume, such as 24GiB"
    )
    _add_json(check)


def _add_cache(commands: _Commands) -> None:
    cache = commands.add_parser("cache", help="list, remove or verify the models on the disk")
    actions = cache.add_subparsers(dest="action", metavar="action", required=True)
    for action, purpose, optional in (
        ("ls", "list models in all caches of this worker", True),
        ("rm", "remove a model's files, unless a worker uses them", False),
        ("verify", "compare files with their digests", True),
    ):
        command = actions.add_parser(action, help=purpose)
        command.add_argument(
            "name",
            metavar="MODEL",
            nargs="?" if optional else None,
            help="org/name, or org/name@ and a branch, a tag or a commit",
        )
        _add_json(command)
        if action == "rm":
            command.add_argument("--yes", action="store_true", help="do not ask")


def _add_operating(commands: _Commands) -> None:
    """Add the commands that talk to a running worker."""
    for name, purpose in (
        ("ps", "what a running worker has loaded, what waits, and what fails"),
        ("top", "the same, updated live, until Ctrl-C"),
        ("load", "have a running worker start a model"),
        ("unload", "have it stop a model, after the requests in flight"),
        ("pin", "keep a loaded model on the GPU"),
        ("unpin", "let it be evicted again"),
        ("logs", "what a model's engines have printed"),
        ("reload", "have a running worker reload MODELS_CONFIG"),
        ("drain", "have a running worker end after its requests in flight"),
    ):
        command = commands.add_parser(name, help=purpose, epilog=_KEY)
        if name not in ("ps", "top", "reload", "drain"):
            command.add_argument(
                "model", metavar="MODEL", help="an alias, org/name, or org/name@revision"
            )
        if name in _UNTIL:
            command.add_argument("--wait", action="store_true", help=_UNTIL[name])
        if name == "logs":
            command.add_argument(
                "-f", "--follow", action="store_true", help="keep printing new lines"
            )
        command.add_argument(
            "--url",
            help="the worker's address; default: MODEL_ROUTER_URL, else this machine at PORT",
        )
        _add_json(command)


def _add_json(command: _Parser) -> None:
    command.add_argument("--json", action="store_true", help="one JSON document, for programs")
