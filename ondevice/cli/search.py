"""`ondevice search`: repositories of the hub with files that can be used here."""

from __future__ import annotations

from dataclasses import asdict

import click

from ondevice import units
from ondevice.cli.options import WholeIn
from ondevice.cli.progress import ProgressLine
from ondevice.domain.download import HubForm, HubModel
from ondevice.domain.text import clean_line
from ondevice.errors import UsageTrouble
from ondevice.hub import listing, remote


@click.command()
@click.argument("text", nargs=-1, required=True)
@click.option(
    "-n", "--limit", type=WholeIn(1, 100), default=10, show_default=True,
    help="Most repositories.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def search(text: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Find repositories by TEXT that have GGUF files or ONNX folders, the most fetched first."""
    wanted = clean_line(" ".join(text), 200)
    if not wanted:
        raise UsageTrouble("there is no text to look for", hint="Try: ondevice search smollm2")
    if remote.is_offline():
        raise remote.offline("search")
    with remote.from_environment(ProgressLine().show) as hub:
        found = listing.search(hub, wanted, limit)
    if as_json:
        import json  # deferred: only for this

        click.echo(json.dumps([asdict(model) for model in found], indent=2))
        return
    for model in found:
        click.echo(clean_line(_heading(model), 300))
        for form in model.forms:
            click.echo(_form(form))
    if found:
        click.echo("Fetch one with: ondevice pull OWNER/NAME/FILE", err=True)
    else:
        click.echo(f"Nothing that runs here is called like {wanted!r}.", err=True)


def _heading(model: HubModel) -> str:
    parts = [
        model.repository,
        model.licence or "no licence named",
        f"{units.short_count(model.downloads)} downloads",
        f"changed {model.modified or units.UNKNOWN}",
    ]
    return " · ".join(parts + (["gated"] if model.gated else []))


def _form(form: HubForm) -> str:
    kind = form.quantization or "-"
    where = clean_line(form.path if form.engine == "llama.cpp" else f"{form.path} (onnx)")
    return f"  {kind:<10}{units.size(form.size_bytes):>8}  {where}"
