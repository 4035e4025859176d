"""`ondevice perplexity`: how well model files predict a text, and what sets them apart."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

import click

from ondevice import catalog, units
from ondevice.cli.answering import say
from ondevice.cli.conditions import conditions
from ondevice.cli.model_names import MODEL_HERE
from ondevice.cli.options import CONTEXT, THREADS, TOKENS, of_gpu, settings_for
from ondevice.cli.progress import StatusLine
from ondevice.cli.table import print_table
from ondevice.cli.texts import TEXT_FILE, read_text
from ondevice.domain.model import ModelFile
from ondevice.domain.quality import WINDOW, Assessment
from ondevice.domain.text import clean_line
from ondevice.hub import local
from ondevice.paths import user_paths
from ondevice.quality.perplexity import Begun, Progress, QualityEvent, Reading, assess, own_text

HEAD = ("MODEL", "QUANT", "ENGINE", "PREDICTED", "PERPLEXITY")
APART = ("KL", "SAME FIRST", "RATIO")


@click.command()
@click.argument("models", type=MODEL_HERE, nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "-r", "--reference", type=MODEL_HERE, metavar="MODEL", help="Say how far each is from this one."
)
@click.option("-f", "--text", type=TEXT_FILE, help="Text to read; else a short one of our own.")
@click.option(
    "-n",
    "--tokens",
    type=TOKENS,
    help="Read only so many of its first tokens; all but the first of them are predicted.",
)
@click.option("--window", type=CONTEXT, default=WINDOW, show_default=True, help="Ids read at once.")
@click.option("--stride", type=TOKENS, help="Tokens that each window adds; default: half of it.")
@click.option("--threads", type=THREADS, help="Fixed; else the physical cores.")
@of_gpu
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def perplexity(models: tuple[str, ...], **options: Any) -> None:
    """Say how well each MODEL predicts a text, window by window.

    With a reference, best the model before quantizing, also the mean KL divergence from it in nats
    (KL), the share of places where both find the same token most probable (SAME FIRST), and the
    perplexity over the reference's (RATIO). The models must have one vocabulary.

    What the numbers are: docs/metrics.md.
    """
    paths = user_paths()
    known = catalog.load(paths.user_catalogue)
    window, stride = options["window"], options["stride"]
    usual = settings_for("threads", "gpu_layers").load_options
    layers = usual.gpu_layers if options["gpu_layers"] is None else options["gpu_layers"]
    reading = Reading(
        window,
        stride or window // 2,
        options["tokens"],
        threads=options["threads"] or usual.threads,
        gpu_layers=layers,
    )
    files = [local.resolve(name, known) for name in models]
    reference = local.resolve(options["reference"], known) if options["reference"] else None
    text = read_text(options["text"]) if options["text"] else own_text()
    rows = _followed(assess(files, reference, text, reading, paths.cache / "logits"))
    if options["as_json"]:
        import json  # deferred: only for this

        source = clean_line(str(options["text"])) if options["text"] else "our own"
        document = _document(rows, [*([reference] if reference else []), *files], reading)
        about = {"source": source, "sha256": hashlib.sha256(text.encode()).hexdigest()}
        click.echo(json.dumps({"text": about, **document}, indent=2))
        return
    _print(rows, reference is not None)


def _followed(events: Any) -> list[Assessment]:
    """What was found, and on stderr how it goes."""
    found, status = [], StatusLine()
    try:
        for event in events:
            _tell(event, status)
            if isinstance(event, Assessment):
                found.append(event)
    finally:
        status.end()
    return found


def _tell(event: QualityEvent, status: StatusLine) -> None:
    match event:
        case Begun(file=file, info=info, kept_bytes=kept):
            status.end()
            for notice in info.notices:
                say(f"{file.name}: {notice.message}")
            if kept:
                say(f"{units.size(kept)} of logits are kept on the disk until this ends")
        case Progress(done_tokens=done, total_tokens=total):
            status.write(_line(event), last=done == total)
        case Assessment():
            status.end()


def _line(event: Progress) -> str:
    """`SmolLM2 Q4_0 · 512 of 1,701 tokens · 98.2 tok/s · 12 s left`."""
    done, total = units.count(event.done_tokens), units.count(event.total_tokens)
    parts = [_name(event.file), f"{done} of {total} tokens"]
    if event.tok_per_s is not None:
        parts.append(units.rate(event.tok_per_s))
    if event.done_tokens < event.total_tokens and event.eta_s is not None:
        parts.append(f"{units.duration(event.eta_s)} left")
    return " · ".join(parts)


def _name(file: ModelFile) -> str:
    return clean_line(f"{file.name} {file.quantization}".strip(), 60)


def _print(rows: list[Assessment], with_reference: bool) -> None:
    table: list[tuple[str, ...]] = [(*HEAD, *(APART if with_reference else ()))]
    for row in rows:
        where = f"{row.info.engine} {row.info.place}"
        cells = (row.model, row.quantization, where, units.count(row.tokens))
        ours = units.estimate(row.perplexity.value, row.perplexity.standard_error)
        apart = row.divergence
        if apart is None:
            others: tuple[str, ...] = ("reference", "", "") if with_reference else ()
        else:
            same = apart.agreement.value
            others = (
                units.estimate(apart.mean.value, apart.mean.standard_error),
                units.share(same),
                units.estimate(apart.ratio.value, apart.ratio.standard_error),
            )
        table.append((*cells, ours, *others))
    print_table(table, right=(3, 4, 5, 6, 7))


def _document(rows: list[Assessment], files: list[ModelFile], reading: Reading) -> dict[str, Any]:
    """The first row is the reference's where there is one."""
    return {
        "window": reading.window,
        "stride": reading.stride,
        "models": [_entry(row, file) for row, file in zip(rows, files, strict=True)],
    }


def _entry(row: Assessment, file: ModelFile) -> dict[str, Any]:
    figures = asdict(row)
    del figures["info"]
    return {"path": clean_line(str(file.path), 4000)} | figures | conditions(row.info)
