"""What is deleted is asked for."""

from __future__ import annotations

import sys

import click

from ondevice.cli.exits import Exit
from ondevice.errors import UsageTrouble

UNASKED = "nothing is deleted without being asked for"


def somebody_answers() -> bool:
    """Whether a question would be read, and may be answered."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: str, yes: bool, as_json: bool) -> None:
    """Go on only when it is wanted; elsewhere than on a terminal that is `--yes`."""
    if yes:
        return
    if as_json or not somebody_answers():
        raise UsageTrouble(UNASKED, hint="Add --yes.")
    if not click.confirm(question, default=False, err=True):
        click.echo("Nothing was deleted.", err=True)
        raise click.exceptions.Exit(Exit.CANCELLED)
