"""The command line: a thin skin on public functions. Importing it imports neither torch nor Avalanche."""

from __future__ import annotations

import shlex
import sys
from io import TextIOWrapper

import click

from ..environment import adopt_own_environment
from ..errors import InputError
from . import authoring, exporting, listing, measuring, results, running, scoring, tuning
from .help import Group
from .say import say


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="lifegen")
def cli() -> None:
    """Compare lifelong generative methods on the same streams by the same valid bounds, over seeds, with intervals."""


for group in (running, tuning, results, exporting, measuring, scoring, listing, authoring):
    for command in group.COMMANDS:
        cli.add_command(command)


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 some cells failed, 2 bad usage or input, 130 interrupted."""
    adopt_own_environment()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # an encoding without "±" gets a question mark instead of an error
            stream.reconfigure(errors="replace")
    try:
        code = cli(standalone_mode=False)
    except InputError as error:
        say(f"lifegen: {error}", error=True)
        code = 2
    except click.exceptions.NoArgsIsHelpError as error:
        say(error.format_message())
        code = 0
    except click.ClickException as error:
        say(f"lifegen: {error.format_message()}", error=True)
        code = 2
    except (click.Abort, KeyboardInterrupt):
        line = shlex.join(["lifegen", *sys.argv[1:]])
        say(f"lifegen: interrupted; the same command continues from here: {line}", error=True)
        code = 130
    sys.exit(code)
