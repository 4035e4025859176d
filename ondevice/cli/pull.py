"""`ondevice pull`: what a model takes and whether it runs here, then the model, whole."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import click

from ondevice import acquire, catalog, errors, units
from ondevice.acquire import PullPlan
from ondevice.cli.exits import Exit
from ondevice.cli.model_names import ANY_MODEL
from ondevice.cli.options import BYTES_PER_S, CONTEXT, settings_for
from ondevice.cli.progress import EventLines, ProgressLine
from ondevice.domain.download import Downloaded, DownloadEvent
from ondevice.domain.model import NO_LICENCE, FileSpec, ModelSpec
from ondevice.domain.text import clean_line
from ondevice.hardware import probe
from ondevice.hardware.parents import end_with_parent
from ondevice.hub import local, names, records, remote, wanted
from ondevice.hub.by_path import no_such_file
from ondevice.hub.cache import HubCache
from ondevice.hub.patience import Patience, Told
from ondevice.hub.pull import bytes_here
from ondevice.hub.records import Records
from ondevice.hub.remote import Hub
from ondevice.paths import user_paths
from ondevice.verdict import verdict_document, verdict_lines


@click.command()
@click.argument("model", type=ANY_MODEL)
@click.option("-q", "--quant", help="Quantization, such as Q8_0; default: the catalogue's first.")
@click.option("--engine", type=click.Choice(["llama.cpp", "onnx"]), help="Form for this engine.")
@click.option("--file", help="One of its files or folders by its path, where several are alike.")
@click.option("-c", "--ctx", type=CONTEXT, help="Tokens of context for the memory verdict.")
@click.option("-y", "--yes", is_flag=True, help="Fetch it even if it would not run here.")
@click.option("--accept-terms", is_flag=True, help="I have read the model's terms and accept them.")
@click.option("--limit-rate", type=BYTES_PER_S, help="Fetch no faster: bytes per second, 5M.")
@click.option("--dry-run", is_flag=True, help="Only say what it takes.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--events", is_flag=True, help="Print what happens, one JSON document a line.")
@click.option("--parent", type=int, hidden=True, help="End with this process, which holds stdin.")
def pull(model: str, **options: Any) -> None:
    """Fetch MODEL: a catalogue name, or owner/name or owner/name/file.gguf of a hub.

    An interrupted download goes on where it ended.
    """
    if options["parent"] is not None:
        end_with_parent(options["parent"])
    try:
        _pull(model, options)
    except errors.OnDeviceError as error:
        if options["events"]:
            EventLines().failed(error)
        raise


def _pull(model: str, options: dict[str, Any]) -> None:
    paths = user_paths()
    own, cache = records.of(paths), HubCache(local.hub_cache())
    shown = EventLines() if options["events"] else ProgressLine()
    with _hub(shown.show) as hub:
        known = catalog.load(paths.user_catalogue)
        spec, file = _wanted(model, known, hub, cache, own, options)
        chosen = settings_for("context", "kv_type", "download_bytes_per_s")
        usual = chosen.load_options
        usual = replace(usual, n_ctx=options["ctx"] or usual.n_ctx)
        options["limit_rate"] = options["limit_rate"] or chosen.download_bytes_per_s or None
        plan = acquire.plan(hub, spec, file, cache, own, probe.machine_memory(), usual)
        _tell(plan, own, options)
        result = None if options["dry_run"] else _fetch(hub, plan, cache, own, options, shown)
    if options["as_json"]:
        kept = result and {"path": str(result.path), "fetched_bytes": result.fetched_bytes}
        click.echo(json.dumps({"plan": _document(plan, own), "result": kept}, indent=2))
    elif result and not options["events"]:
        click.echo(str(result.path))


@contextlib.contextmanager
def _hub(told: Told) -> Iterator[Hub | None]:
    """None where the network is forbidden, or the hub's address is none: what is here or pinned can
    be told all the same. Raises what is wrong where a hub has to be asked."""
    if remote.is_offline():
        yield None
        return
    try:
        made = remote.from_environment(told)
    except errors.EnvironmentUnusable as unusable:
        try:
            yield None
        except errors.HubUnreachable:  # nobody was there to be asked
            raise unusable from None
        return
    with made as hub:
        yield hub


def _wanted(
    model: str,
    known: catalog.Catalog,
    hub: Hub | None,
    cache: HubCache,
    own: Records,
    options: dict[str, Any],
) -> tuple[ModelSpec, FileSpec]:
    asked = options["quant"], options["engine"], options["file"]
    spec = known.get(model)
    if spec is None and (parts := names.split(model)):
        entry, file = wanted.listed(known, model) or (None, None)
        if entry and file:
            return entry, file
        found = None if any(asked) else wanted.on_disk(*parts)
        if found is None and hub is None:
            found = wanted.here_of(model, cache, own, *asked)
        named, file = found or wanted.on_hub(hub, model, *asked)
        return wanted.as_listed(named, entry) if entry else named, file
    if local.means_path(model, known):
        raise _no_name(local.expand(model))
    spec = known.find(model)
    return spec, wanted.choose(spec, *asked)


def _no_name(path: Path) -> errors.OnDeviceError:
    """What to raise where a path was given."""
    if not os.path.lexists(path):
        return no_such_file(path, "Fetched is a catalogue name, or owner/name of a hub.")
    label = clean_line(str(path))
    return errors.UsageTrouble(
        f"{label} is a path on this machine, there is nothing to fetch",
        hint=f"To run a file: ondevice run -m {shlex.quote(label)}",
    )


def _tell(plan: PullPlan, own: Records, options: dict[str, Any]) -> None:
    """The verdict. It is talk, except where it is all that was asked for."""
    if options["as_json"] or options["events"]:
        return
    for label, value in _lines(plan, own):
        click.echo(f"{label:<10}{clean_line(value, 300)}", err=not options["dry_run"])


def _lines(plan: PullPlan, own: Records) -> Iterator[tuple[str, str]]:
    file = plan.file
    yield "model", f"{plan.spec.title} · {file.quantization} ({file.engine})"
    if plan.here:
        yield "here", f"{plan.here} · {units.size(plan.bytes_total)}"
    else:
        have = f" · {units.size(plan.bytes_here)} are here" if plan.bytes_here else ""
        free = units.size(plan.free_disk_bytes)
        yield "fetch", f"{units.size(plan.bytes_to_fetch)}{have} · the disk has {free} free"
    yield "from", f"{file.repository} {file.path} · {own.state(file)}"
    yield "licence", _licence(plan.spec)
    if plan.gated:
        yield "gated", "the hub wants an account that accepted the terms, and HF_TOKEN"
    yield from verdict_lines(plan.verdict, plan.problem)


def _licence(spec: ModelSpec) -> str:
    if not spec.terms:
        return spec.licence
    return f"{spec.licence} · {'see' if spec.licence == NO_LICENCE else 'terms:'} {spec.terms}"


def _fetch(
    hub: Hub | None,
    plan: PullPlan,
    cache: HubCache,
    own: Records,
    options: dict[str, Any],
    shown: EventLines | ProgressLine,
) -> Downloaded:
    if plan.here is None:
        plan = _agree(plan, own, options)
    elif not options["as_json"]:
        click.echo("It is here already.", err=True)
    patience = Patience(limit_bytes_per_s=options["limit_rate"])
    event: DownloadEvent | None = None
    try:
        with (
            _terminable(),
            contextlib.closing(acquire.get(hub, plan, cache, own, patience)) as events,
        ):
            for event in events:
                shown.show(event)
    except KeyboardInterrupt as stop:
        shown.end()
        kept = f"{units.size(bytes_here(plan.remote, cache))} of {units.size(plan.bytes_total)}"
        click.echo(f"Stopped; {kept} are kept. Pull again to go on.", err=True)
        code = Exit.TERMINATED if isinstance(stop, _Terminated) else Exit.CANCELLED
        raise click.exceptions.Exit(code) from None
    except errors.OnDeviceError:
        shown.end()
        raise
    assert isinstance(event, Downloaded)  # the last one, or it raises
    return event


def _agree(plan: PullPlan, own: Records, options: dict[str, Any]) -> PullPlan:
    """Terms are accepted by a person, and what does not fit is wanted all the same."""
    told = options["as_json"] or options["events"]  # nobody saw the verdict
    talks = sys.stdin.isatty() and sys.stderr.isatty() and not told
    if plan.terms and (
        options["accept_terms"] or (talks and click.confirm(_terms_question(plan), err=True))
    ):
        plan = acquire.accept(plan, own)
    if plan.terms is None and plan.fits is False and not options["yes"]:
        why = plan.problem or "it does not fit this machine"
        if not talks:
            raise errors.UsageTrouble(
                f"{plan.spec.name} would not run here: {why}", hint="Fetch it all the same: --yes"
            )
        click.confirm(f"It would not run here: {clean_line(why)}. Fetch it?", abort=True, err=True)
    return plan


def _terms_question(plan: PullPlan) -> str:
    if plan.spec.licence == NO_LICENCE:
        return f"It names no licence; see {plan.terms}. Fetch it all the same?"
    return f"Accept the terms at {plan.terms}?"


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which ends the download as Ctrl-C does."""


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _document(plan: PullPlan, own: Records) -> dict[str, Any]:
    file = plan.file
    return {
        "model": plan.spec.name,
        "engine": file.engine,
        "quantization": file.quantization,
        "repository": file.repository,
        "path": file.path,
        "pin": own.state(file),
        "files": [
            {"path": each.path, "size_bytes": each.size_bytes, "hash": each.content_hash}
            for each in plan.remote
        ],
        "revision": plan.remote[0].commit if plan.remote else file.revision,
        "here": str(plan.here) if plan.here else None,
        "bytes_total": plan.bytes_total,
        "bytes_here": plan.bytes_here,
        "bytes_to_fetch": plan.bytes_to_fetch,
        "free_disk_bytes": plan.free_disk_bytes,
        "licence": plan.spec.licence,
        "terms": plan.spec.terms,
        "terms_accepted": plan.spec.terms is None or own.accepted(plan.spec.terms) is not None,
        "gated": plan.gated,
        "memory": verdict_document(plan.verdict),
        "memory_unknown_because": plan.problem,
        "speed": None,
    }
