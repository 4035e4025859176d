"""`ondevice compare`: the same prompts through two models, greedy, taking turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from ondevice import catalog, units
from ondevice.cli.answering import say
from ondevice.cli.conditions import conditions
from ondevice.cli.model_names import MODEL_HERE
from ondevice.cli.options import CONTEXT, GPU_LAYERS, ON_OFF, THREADS, TOKENS, settings_for
from ondevice.cli.progress import StatusLine
from ondevice.cli.table import print_table
from ondevice.cli.texts import TEXT_FILE, read_prompts
from ondevice.domain.generation import LoadOptions, Prompt
from ondevice.domain.parity import Comparison, Difference, MiddleAndSpread, Side
from ondevice.domain.text import clean_line
from ondevice.errors import UsageTrouble
from ondevice.hub import local
from ondevice.paths import user_paths
from ondevice.quality.parity import Crowded, ParityEvent, Progress, Ready
from ondevice.quality.parity import compare as compared

SHOWN = 30
"""Characters of a text on each side of a difference."""


@click.command()
@click.argument("models", type=MODEL_HERE, nargs=2, metavar="MODEL_A MODEL_B")
@click.argument("prompts", type=TEXT_FILE)
@click.option("-n", "--tokens", type=TOKENS, default=64, show_default=True, help="Longest answer.")
@click.option("--raw", is_flag=True, help="Continue the prompts as they stand, without a template.")
@click.option("-c", "--ctx", type=CONTEXT, help="Tokens of context.")
@click.option("--threads", type=THREADS, help="Fixed; else follows the load.")
@click.option(
    "--gpu-layers",
    type=GPU_LAYERS,
    multiple=True,
    help="Layers on a GPU, of both; given twice: of A, and of B.",
)
@click.option("--repack", type=ON_OFF, help="Default: on if memory allows.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def compare(models: tuple[str, str], prompts: Path, **options: Any) -> None:
    """Answer PROMPTS with two models: files, or engines with the same model.

    PROMPTS is a file with one prompt a line, or a .jsonl file of objects with `prompt`. `-` is
    stdin, where a first line that begins with `{` means such objects. Answers are greedy and each
    prompt is evaluated whole. Nothing of it is stored.

    What the numbers are: docs/metrics.md.
    """
    known = catalog.load(user_paths().user_catalogue)
    one, other = (local.resolve(name, known) for name in models)
    texts = read_prompts(prompts)
    raw = options["raw"] or "base" in (one.use, other.use)
    asked = [Prompt(text=text) if raw else Prompt.chat(text) for text in texts]
    events = compared((one, other), asked, options["tokens"], _loading(options))
    found = _followed(events)
    if options["as_json"]:
        import json  # deferred: only for this

        click.echo(json.dumps(_document(found, options["tokens"], raw), indent=2))
        return
    _print(found)


def _loading(options: dict[str, Any]) -> tuple[LoadOptions, LoadOptions]:
    """Of A and of B."""
    usual = settings_for("threads", "context", "kv_type", "gpu_layers").load_options
    layers = options["gpu_layers"] or (usual.gpu_layers,)
    if len(layers) > 2:
        raise UsageTrouble(
            f"--gpu-layers is there {len(layers)} times",
            hint="Give it once for both models, or twice: for A, and for B.",
        )
    both = LoadOptions(
        n_ctx=options["ctx"] or usual.n_ctx,
        threads=options["threads"] or usual.threads,
        repack=options["repack"] and options["repack"] == "on",
        kv_type=usual.kv_type,
    )
    return replace(both, gpu_layers=layers[0]), replace(both, gpu_layers=layers[-1])


def _followed(events: Any) -> Comparison:
    """What was found, and on stderr how it goes."""
    status, found = StatusLine(), None
    try:
        for event in events:
            _tell(event, status)
            found = event
    finally:
        status.end()
    assert isinstance(found, Comparison)  # its last event, or it raises
    return found


def _tell(event: ParityEvent, status: StatusLine) -> None:
    match event:
        case Crowded(needed_bytes=needed, free_bytes=free):
            both = f"both files take {units.size(needed)}, {units.size(free)} are free"
            say(f"{both}: what has to be read from the disk again makes both slower")
        case Ready(file=file, info=info):
            for notice in info.notices:
                say(f"{file.name}: {notice.message}")
        case Progress(done=done, total=total, eta_s=eta):
            left = f" · {units.duration(eta)} left" if done < total else ""
            status.write(f"{done} of {total} answers{left}", last=done == total)


def _print(found: Comparison) -> None:
    one, other = found.sides
    rows = [("", "A", "B")]
    for name, cell in _CELLS.items():
        if any(cells := (cell(one), cell(other))):
            rows.append((name, *cells))
    print_table(rows)
    click.echo()
    prompts = f"{found.same} of {found.prompts} prompts"
    if found.agreed_tokens is None or found.longer_tokens is None:
        click.echo(
            f"{prompts} have the same text; the vocabularies differ, so tokens do not compare"
        )
    else:
        agreed, longer = units.count(found.agreed_tokens), units.count(found.longer_tokens)
        share = units.share(found.agreement)
        click.echo(f"agreement {share}: {agreed} of {longer} tokens before the first difference")
        click.echo(f"the same answer to {prompts}")
    if found.other_ids:
        click.echo(f"{found.other_ids} prompts are read as other tokens by the two")
    for each in found.differences:
        click.echo()
        _print_difference(each)


def _print_difference(each: Difference) -> None:
    before = clean_line(each.before[-SHOWN:], SHOWN)
    token = "" if each.token is None else f", token {each.token}"
    click.echo(f"prompt {each.prompt}{token}: … {before}")
    for name, text, gap in zip("AB", each.texts, each.gaps, strict=True):
        went_on = clean_line(text[: 2 * SHOWN], 2 * SHOWN) or "(ends)"
        said = "" if gap is None else f"  gap {gap:.4f}"
        click.echo(f"  {name}{said}  {went_on}")


def _on_devices(side: Side) -> str:
    """Nothing where the CPU has all of it."""
    return "" if side.info.device_bytes == 0 else units.size(side.info.device_bytes)


def _rate(of: MiddleAndSpread) -> str:
    return units.UNKNOWN if of is None else f"{units.rate(of[0])} (± {of[1] / 2:.1f})"


_CELLS: dict[str, Callable[[Side], str]] = {
    "model": lambda side: clean_line(f"{side.model} {side.quantization}".strip(), 40),
    "engine": lambda side: f"{side.info.engine} {side.info.place}",
    "prefill": lambda side: _rate(side.prefill_tok_per_s),
    "decode": lambda side: _rate(side.decode_tok_per_s),
    "private memory": lambda side: units.size(side.peak_private_bytes),
    "model pages": lambda side: units.size(side.model_pages_bytes),
    "device memory": _on_devices,
    "threads": lambda side: str(side.info.threads),
    "tokens made": lambda side: units.count(side.tokens),
}


def _document(found: Comparison, max_tokens: int, raw: bool) -> dict[str, Any]:
    document = asdict(found) | {"agreement": found.agreement, "max_tokens": max_tokens, "raw": raw}
    for side, of in zip(document["sides"], found.sides, strict=True):
        del side["info"]
        side |= conditions(of.info)
        for name in ("prefill_tok_per_s", "decode_tok_per_s"):
            middle, spread = side[name] or (None, None)
            side[name] = {"median": middle, "iqr": spread}
    return document
