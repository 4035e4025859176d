"""`ondevice prune`: delete what unfinished downloads and crashes left in the cache."""

from __future__ import annotations

from typing import Any

import click

from ondevice import units
from ondevice.cli.confirm import confirm
from ondevice.cli.exits import Exit
from ondevice.domain.text import clean_line
from ondevice.hub import local, upkeep
from ondevice.hub.cache import HubCache
from ondevice.hub.upkeep import Leftover, Pruned

WORDS = {
    "part": "unfinished download",
    "incomplete": "unfinished download of another tool",
    "blob": "content without a name",
    "damaged": "damaged, set aside",
    "new": "name that was being made",
    "pointer": "name without content",
    "lock": "lock of an ended download",
}


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@click.option("--all", "everything", is_flag=True, help="Also what other tools left unfinished.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; needs --yes.")
def prune(dry_run: bool, everything: bool, yes: bool, as_json: bool) -> None:
    """Delete what nobody needs: partials, content without a name, locks of ended downloads.

    An interrupted download that you mean to go on with is among them.
    """
    cache = HubCache(local.hub_cache())
    found = upkeep.leftovers(cache)
    due = [each for each in found if everything or not each.is_foreign]
    if not as_json:
        _tell(found, everything, talk=not dry_run)
    done: list[Pruned] = []
    if due and not dry_run:
        size = units.size(sum(each.size_bytes for each in due))
        confirm(f"Delete {_count(len(due))} and free {size}?", yes, as_json)
        done = list(upkeep.prune(cache, due))
    if as_json:
        import json  # deferred: only for this

        click.echo(json.dumps(_document(found, done), indent=2))
    elif done:
        freed = units.size(sum(each.freed_bytes for each in done))
        gone = sum(each.problem is None for each in done)
        click.echo(f"Deleted {_count(gone)}; {freed} are free again.", err=True)
    for each in done:
        if each.problem:
            click.echo(f"ondevice: left: {clean_line(each.problem.message, 400)}", err=True)
    if any(each.problem for each in done):
        raise click.exceptions.Exit(Exit.FAILED)


def _tell(found: list[Leftover], everything: bool, talk: bool) -> None:
    """What there is. It is talk, except where it is all that was asked for."""
    locks = [each for each in found if each.kind == "lock"]
    for each in found:
        if each.kind != "lock":
            size, word = units.size(each.size_bytes), WORDS[each.kind]
            word += "" if everything or not each.is_foreign else "; only with --all"
            click.echo(f"{size:>8}  {clean_line(str(each.path), 400)} · {word}", err=talk)
    if locks:
        words = f"{units.count(len(locks))} × {WORDS['lock']}"
        click.echo(f"{units.size(0):>8}  {words}", err=talk)
    if not found:
        click.echo("There is nothing to delete.", err=True)


def _count(number: int) -> str:
    return "1 leftover" if number == 1 else f"{units.count(number)} leftovers"


def _document(found: list[Leftover], done: list[Pruned]) -> dict[str, Any]:
    outcome = {each.leftover: each for each in done}
    rows = []
    for each in found:
        ended = outcome.get(each)
        problem = ended.problem.message if ended and ended.problem else None
        rows.append(
            {
                "path": str(each.path),
                "kind": each.kind,
                "size_bytes": each.size_bytes,
                "needs_all": each.is_foreign,
                "deleted": ended is not None and problem is None,
                "problem": problem,
            }
        )
    return {"leftovers": rows, "freed_bytes": sum(each.freed_bytes for each in done)}
