"""`ondevice list`: the catalogue, and what of it is on this machine."""

from __future__ import annotations

import sys
from typing import Any

import click

from ondevice import catalog, units
from ondevice.domain.model import ModelSpec
from ondevice.domain.text import clean_line
from ondevice.hub import local, records
from ondevice.paths import user_paths


@click.command("list")
@click.option("--here", is_flag=True, help="Only models on this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_models(here: bool, as_json: bool) -> None:
    """List the catalogue and what is on this machine."""
    known = catalog.load(user_paths().user_catalogue)
    for problem in known.problems:
        click.echo(f"ondevice: skipped: {clean_line(problem, 400)}", err=True)
    rows = [row for row in map(_row, known.models) if row["here"] or not here]
    if as_json:
        import json  # deferred: only for this

        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo(
            "No model is on this machine yet. `ondevice list` shows what there is.", err=True
        )
    _print_table(rows)


def _row(spec: ModelSpec) -> dict[str, Any]:
    found = local.find(spec)
    file = next(
        (each for each in spec.files if found and found.quantization == each.quantization),
        spec.files[0],
    )
    own = records.of_user()
    return {
        "name": spec.name,
        "family": spec.family,
        "use": spec.use,
        "parameters": spec.parameters,
        "quantization": file.quantization,
        "size_bytes": found.path.stat().st_size if found else file.size_bytes,
        "licence": spec.licence,
        "gated": spec.gated,
        "pin": own.state(file) if own else ("pinned" if file.pinned else "unpinned"),
        "here": found is not None,
        "partly_here_bytes": max(local.partly_here(each) for each in spec.files),
        "path": str(found.path) if found else None,
    }


def _state(row: dict[str, Any]) -> str:
    if row["here"]:
        return "here"
    if row["partly_here_bytes"]:
        return "partly here"
    return "gated" if row["gated"] else ""


def _print_table(rows: list[dict[str, Any]]) -> None:
    table = [("MODEL", "PARAMS", "QUANT", "SIZE", "USE", "LICENCE", "STATE")]
    for row in rows:
        state = _state(row)
        size = units.size(row["size_bytes"])
        params = units.short_count(row["parameters"])
        table.append(
            (row["name"], params, row["quantization"], size, row["use"], row["licence"], state)
        )
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for number, line in enumerate(table):
        cells = [
            cell.rjust(width) if column in (1, 3) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        text = "  ".join(cells).rstrip()
        bold = sys.stdout.isatty() and (number == 0 or line[-1] == "here")
        click.echo(click.style(text, bold=True) if bold else text)
