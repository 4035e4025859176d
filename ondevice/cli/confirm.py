"""What is deleted is asked for."""

from __future__ import annotations

import sys

import click

from ondevice.cli.exits import Exit
from ondevice.errors import UsageTrouble


def confirm(question: str, yes: bool, as_json: bool) -> None:
    """Go on only when it is wanted; elsewhere than on a terminal that is `--yes`."""
    if yes:
        return
    if as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageTrouble("nothing is deleted without being asked for", hint="Add --yes.")
    if not click.confirm(question, default=False, err=True):
        click.echo("Nothing was deleted.", err=True)
        raise click.exceptions.Exit(Exit.CANCELLED)
