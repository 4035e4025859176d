"""`ondevice list`: the catalogue, and what of it and beside it is on this machine."""

from __future__ import annotations

import sys
from typing import Any

import click

from ondevice import catalog, units
from ondevice.domain.model import FileSpec, ModelSpec
from ondevice.domain.text import clean_line
from ondevice.hub import forms, local, records
from ondevice.hub.cache import HubCache
from ondevice.hub.records import Records
from ondevice.paths import user_paths


@click.command("list")
@click.option("--here", is_flag=True, help="Only models on this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_models(here: bool, as_json: bool) -> None:
    """List the catalogue, and what else was fetched by its name on a hub."""
    paths = user_paths()
    known, own = catalog.load(paths.user_catalogue), records.of(paths)
    for problem in known.problems:
        click.echo(f"ondevice: skipped: {clean_line(problem, 400)}", err=True)
    rows = [row for spec in known.models if (row := _of_entry(spec, own))["here"] or not here]
    rows += _others(known, own)
    if as_json:
        import json  # deferred: only for this

        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo(
            "No model is on this machine yet. `ondevice list` shows what there is.", err=True
        )
    _print_table(rows)
    if sys.stdout.isatty() and any(row["size_bytes"] is None for row in rows):
        ask = "`ondevice pull MODEL --dry-run` asks it"
        click.echo(f"SIZE unknown: only the hub knows the size of that file; {ask}.", err=True)


def _of_entry(spec: ModelSpec, own: Records) -> dict[str, Any]:
    """By a form that is here, one that an engine opens before others, else by the first one."""
    here = [file for file in spec.files if local.find_file(file)]
    opened = [file for file in here if local.is_opened(file)]
    return _row(spec, (opened or here or list(spec.files))[0], own)


def _others(known: catalog.Catalog, own: Records) -> list[dict[str, Any]]:
    """What is here and no form of an entry."""
    cache = HubCache(local.hub_cache())
    if not forms.repositories(cache):
        return []
    from ondevice.hub import wanted  # deferred: 20 ms, and headers are read

    return [_row(spec, file, own) for spec, file in wanted.beside(known, cache, own)]


def _row(spec: ModelSpec, file: FileSpec, own: Records) -> dict[str, Any]:
    path = local.find_file(file)
    return {
        "name": spec.name,
        "family": spec.family,
        "use": spec.use,
        "parameters": spec.parameters or None,
        "quantization": file.quantization,
        "size_bytes": local.size_of(path, file) if path else file.size_bytes,
        "licence": spec.licence,
        "gated": spec.gated,
        "pin": own.state(file),
        "here": path is not None,
        "partly_here_bytes": max(local.partly_here(each) for each in spec.files),
        "path": str(path) if path else None,
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
