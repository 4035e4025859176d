"""`ondevice rm`: delete one form of a model, after saying what goes and how much room it frees."""

from __future__ import annotations

import os
import re
from typing import Any

import click

from ondevice import catalog, units
from ondevice.cli.confirm import confirm
from ondevice.cli.model_names import MODEL_HERE
from ondevice.domain.model import FileSpec, told_apart
from ondevice.domain.text import clean_line
from ondevice.errors import ModelNotHere, UsageTrouble
from ondevice.hub import forms, local, records, upkeep
from ondevice.hub.cache import HubCache
from ondevice.hub.records import FETCHED_AGAIN, Records
from ondevice.hub.upkeep import Removal
from ondevice.paths import user_paths

OWN_FILE = "What becomes of it is up to you: delete it yourself."


@click.command()
@click.argument("model", type=MODEL_HERE)
@click.option("-q", "--quant", help="Which one, where several are here, such as Q8_0.")
@click.option("--file", "path", help="Which one, by its path in the repository.")
@click.option("--forget-pin", is_flag=True, help="Also forget its hash: pull takes what is new.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; needs --yes.")
def rm(
    model: str, quant: str | None, path: str | None, forget_pin: bool, yes: bool, as_json: bool
) -> None:
    """Delete MODEL: a catalogue name, or owner/name or owner/name/file.gguf of a hub.

    Conversations stay, and it can be fetched again: as the same bytes where its hash is pinned,
    and with --forget-pin as what the hub has then.
    """
    paths = user_paths()
    cache, own = HubCache(local.hub_cache()), records.of(paths)
    named = forms.named(model, catalog.load(paths.user_catalogue), cache, own, OWN_FILE)
    asked = [each for each in _asked(model, named, quant) if path in (None, each.path)]
    asked = _pinned_here(model, asked, own) if forget_pin else asked
    file, due = _one(model, asked, cache, own, forget_pin)
    pin = "unpinned" if forget_pin else own.state(file)
    if not as_json:
        _tell(file, due, FETCHED_AGAIN[pin])
    forgets = " and forget its hash" if forget_pin else ""
    confirm(f"Delete it and free {units.size(due.freed_bytes)}{forgets}?", yes, as_json)
    done = upkeep.remove(cache, file, own)
    if forget_pin:
        own.unpin(file)
    if as_json:
        import json  # deferred: only for this

        click.echo(json.dumps(_document(model, file, done) | {"pin": pin}, indent=2))
    else:
        click.echo(f"Deleted; {units.size(done.freed_bytes)} are free again.", err=True)


def _asked(model: str, named: list[FileSpec], wanted: str | None) -> list[FileSpec]:
    if wanted is None:
        return named
    # A file that is in no catalogue has its quantization in its path.
    inside = re.compile(rf"(?<![a-z0-9]){re.escape(wanted)}(?![a-z0-9_])", re.I | re.A)
    found = [
        file
        for file in named
        if file.quantization.lower() == wanted.lower()
        or (not file.quantization and inside.search(file.path))
    ]
    if not found and named:
        has = ", ".join(_label(file, named) for file in named)
        raise UsageTrouble(
            f"{clean_line(model, 80)} has no {clean_line(wanted, 40)}", hint=f"It has {has}."
        )
    return found


def _pinned_here(model: str, named: list[FileSpec], own: Records) -> list[FileSpec]:
    found = [each for each in named if own.state(each) == "pinned locally"]
    if not found:
        raise UsageTrouble(
            f"no hash of {clean_line(model, 80)} was recorded here",
            hint="A hash of the catalogue stays; without --forget-pin its files are deleted.",
        )
    return found


def _one(
    model: str, named: list[FileSpec], cache: HubCache, own: Records, forgets: bool
) -> tuple[FileSpec, Removal]:
    """The form that is meant and here, or whose pin goes. Raises ModelNotHere, and UsageTrouble."""
    found = [(file, upkeep.removal(cache, file, own)) for file in named]
    found = [(file, due) for file, due in found if forgets or not due.is_empty]
    label = clean_line(model, 80)
    if len(found) > 1:
        here = ", ".join(_label(file, named) for file, _ in found)
        raise UsageTrouble(
            f"more than one form of {label} is here: {here}",
            hint="Say which with --quant or --file.",
        )
    if found:
        return found[0]
    for file in named:
        if file.package and local.in_package(file):
            name = file.package.replace("_", "-")
            raise UsageTrouble(
                f"{label} is part of the Python package {name}",
                hint=f"Uninstall that: pip uninstall {name}",
            )
    raise ModelNotHere(f"{label} is not on this machine", hint="See: ondevice list --here")


def _label(file: FileSpec, among: list[FileSpec]) -> str:
    return clean_line(told_apart(file, among))


def _tell(file: FileSpec, due: Removal, again: str) -> None:
    what = f"{file.repository}/{file.path}"
    lines = [("deletes", f"{what} · {units.size(due.freed_bytes)}")]
    lines += [("name", str(each.name)) for each in due.pointers]
    if due.parts:
        lines.append(("partial", "what an unfinished download of it left"))
    if due.kept:
        count = units.count(len(due.kept))
        lines.append(("keeps", f"{count} of its files, which other names lead to as well"))
    lines.append(("again", again))
    if os.name == "posix":
        lines.append(("running", "a program that has it loaded keeps it until it ends"))
    for label, value in lines:
        click.echo(f"{label:<10}{clean_line(value, 400)}", err=True)


def _document(model: str, file: FileSpec, done: Removal) -> dict[str, Any]:
    return {
        "model": model,
        "engine": file.engine,
        "quantization": file.quantization or None,
        "repository": file.repository,
        "path": file.path,
        "deleted": [
            *(str(each.name) for each in done.pointers),
            *map(str, (*done.blobs, *done.parts)),
        ],
        "kept": [str(each) for each in done.kept],
        "freed_bytes": done.freed_bytes,
    }
