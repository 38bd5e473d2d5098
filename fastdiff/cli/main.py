"""``fastdiff``: parses, runs, and turns every FastdiffError into one line and exit code 2."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from fastdiff._version import __version__
from fastdiff.cli import eval as evaluation
from fastdiff.cli import info, sample, train
from fastdiff.errors import FastdiffError

COMMANDS = {"sample": sample, "train": train, "eval": evaluation, "info": info}


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    top = argparse.ArgumentParser(
        prog="fastdiff", description="Draw samples from small image generators, fast."
    )
    top.add_argument("--version", action="version", version=f"fastdiff {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        about = (module.__doc__ or "").splitlines()[0].split(": ", 1)[1]
        command = commands.add_parser(
            name,
            help=about,
            description=about,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        module.add_arguments(command)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for wrong input (one line on stderr), 130 after Ctrl-C."""
    args = parser().parse_args(argv)
    try:
        code: int = COMMANDS[args.command].run(args)
        return code
    except FastdiffError as error:
        print(f"fastdiff {args.command}: error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        print(
            f"fastdiff {args.command}: error: this needs torch, which is not installed "
            "(pip install 'fastdiff[torch]')",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print(f"fastdiff {args.command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away (| head); Python would complain at exit too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
