"""The command line: `model-router [serve|runpod|demo|prefetch|replay]`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from engines import flags
from router import __version__
from router.config import listing
from router.config.settings import SETTINGS

_DESCRIPTION = """\
One GPU worker, many models: each request names its model.

Without a command: `runpod` where RunPod's queue is set up, else `serve`."""

_MOST_USED = "most used settings (environment variables; `serve --help` lists all):"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status. 2: the settings can't be used."""
    chosen = _parser().parse_args(arguments)
    # Not before: `--help` and a mistyped command need none of what the commands import.
    from router import commands  # noqa: PLC0415

    return commands.run(chosen)


def _parser() -> argparse.ArgumentParser:
    most_used = listing.help_text(one for one in SETTINGS.values() if one.most_used)
    every = listing.help_text((*SETTINGS.values(), *flags.SETTINGS.values()))
    parser = argparse.ArgumentParser(
        prog="model-router",
        description=_DESCRIPTION,
        epilog=f"{_MOST_USED}\n{most_used}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command")
    for name, purpose in (("serve", "serve over HTTP"), ("runpod", "take RunPod's jobs")):
        commands.add_parser(
            name,
            help=purpose,
            epilog=f"settings (environment variables):\n{every}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    demo = commands.add_parser("demo", help="show the main job: no GPU, network or token")
    demo.add_argument("--keep", action="store_true", help="leave it serving afterwards")
    prefetch = commands.add_parser("prefetch", help="download a model into an image")
    prefetch.add_argument("name", help="org/name or org/name@revision")
    prefetch.add_argument("--into", type=Path, required=True, help="directory to fill")
    prefetch.add_argument("--token-file", type=Path, help="file that holds a Hub token")
    replay = commands.add_parser("replay", help="show what the pool did, from POOL_JOURNAL")
    replay.add_argument("journal", type=Path, help="the file that POOL_JOURNAL named")
    return parser
