"""Help texts: commands and options under headings, and summaries in full."""

from __future__ import annotations

import click

_COMMANDS = {
    "Run": ("run", "plan", "status", "worker", "rerun", "tune"),
    "Results": ("leaderboard", "compare", "plot", "report", "publish", "export", "measure", "score"),
    "Extend": ("new-method", "new-scenario", "new-metric", "new-suite", "check"),
    "Look up": ("list", "data", "doctor"),
}
_OPTIONS = {
    "Machine": ("jobs", "device", "gpus", "slots_per_gpu", "mps", "time_limit", "data_root"),
    "Ray": ("executor", "address", "cpus", "gpu_share", "memory", "share"),
}
"""Options with a heading of their own, by the names of their parameters; others stand before them."""
_EXAMPLES = """\
lifegen run --suite quick
lifegen leaderboard runs/quick
lifegen plot runs/quick
lifegen new-method my-method
"""


class Group(click.Group):
    """Commands under headings, with examples."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        named = {name for names in _COMMANDS.values() for name in names}
        others = tuple(name for name in self.list_commands(ctx) if name not in named)
        for heading, names in {**_COMMANDS, "Others": others}.items():
            rows = [
                (name, self.commands[name].get_short_help_str(limit=1000)) for name in names if name in self.commands
            ]
            _section(formatter, heading, rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            for line in _EXAMPLES.splitlines():
                formatter.write_text(line)


class Command(click.Command):
    """A command with many options, some of them under headings of their own."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        headings = {name: heading for heading, names in _OPTIONS.items() for name in names}
        rows: dict[str, list[tuple[str, str]]] = {heading: [] for heading in ("Options", *_OPTIONS)}
        for parameter in self.get_params(ctx):
            if (record := parameter.get_help_record(ctx)) is not None:
                rows[headings.get(str(parameter.name), "Options")].append(record)
        for heading, lines in rows.items():
            _section(formatter, heading, lines)


def _section(formatter: click.HelpFormatter, heading: str, rows: list[tuple[str, str]]) -> None:
    if rows:
        with formatter.section(heading):
            formatter.write_dl(rows)
