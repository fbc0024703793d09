"""Settings as options of `serve` and `runpod`: `--max-queue 64` for MAX_QUEUE.

Any user of the machine can read a command line, so there are no options for tokens and keys.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any, NoReturn

from router.config.setting import Setting

_FIELD = "setting_"  # prefix of a setting's name in argparse's result


def option(one: Setting[Any]) -> str | None:
    """The option's name, such as `--max-queue`; None for a secret."""
    return None if one.secret else _spelled(one)


def add_options(parser: argparse.ArgumentParser, settings: Iterable[Setting[Any]]) -> None:
    """Add an option for each setting that is not a secret.

    `--help` explains them in its own text (`listing.option_help`), because argparse can't sort
    them by use.
    """
    for one in settings:
        if (name := option(one)) is None:
            parser.add_argument(_spelled(one), action=_Refused, help=argparse.SUPPRESS)
            continue
        # A flag without a value means true: `--hf-hub-offline`.
        flag: dict[str, Any] = {"nargs": "?", "const": "true"} if one.is_flag else {}
        parser.add_argument(name, dest=_FIELD + one.name, help=argparse.SUPPRESS, **flag)


def given(chosen: argparse.Namespace) -> dict[str, str]:
    """The variables for the given options, as text. They are parsed like the environment."""
    return {
        name.removeprefix(_FIELD): value
        for name, value in vars(chosen).items()
        if name.startswith(_FIELD) and value is not None
    }


def _spelled(one: Setting[Any]) -> str:
    return f"--{one.name.lower().replace('_', '-')}"


class _Refused(argparse.Action):
    """Refuses a secret as an option."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,  # noqa: ARG002 - argparse's
        values: object,  # noqa: ARG002
        option_string: str | None = None,
    ) -> NoReturn:
        variable = str(option_string).removeprefix("--").replace("-", "_").upper()
        parser.error(
            f"{option_string} is not an option, because anyone on this machine can read a "
            f"command line: set the variable {variable}. If you typed a secret here, consider "
            "it exposed and replace it"
        )
