"""Rows of text in columns, for stdout."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence

import click


def print_table(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> None:
    """The first of `rows` is the head; columns in `right` are numbers."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        text = "  ".join(cells).rstrip()
        click.echo(click.style(text, bold=True) if number == 0 and sys.stdout.isatty() else text)
