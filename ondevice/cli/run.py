"""`ondevice run`: one prompt, one answer, every number of it."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ondevice import catalog, errors, pricing, units
from ondevice.cli.options import CONTEXT, settings_for
from ondevice.domain.cost import Price
from ondevice.domain.generation import (
    Adapter,
    EngineInfo,
    EngineNotice,
    GenerationRequest,
    LoadOptions,
    PrefillProgress,
    Prompt,
    TextDelta,
)
from ondevice.domain.measured import Measured
from ondevice.domain.model import ModelFile
from ondevice.domain.text import clean, clean_line, storable
from ondevice.engines import registry
from ondevice.hub import local
from ondevice.measure import MeasureEvent, measure
from ondevice.paths import user_paths
from ondevice.settings import Settings

TOKENS = click.IntRange(1, 1_000_000_000)
MOST_SCHEMA_BYTES = 1 << 20
INPUT = click.Path(path_type=Path)
SAMPLED = ("temperature", "top_k", "top_p", "min_p", "repeat_penalty", "seed")
USED = (
    "model",
    "context",
    "threads",
    "kv_type",
    "max_tokens",
    "system",
    "presets",
    "sampling",
    "baseline",
)
"""The settings that an option's absence leaves to the file."""


@click.command()
@click.argument("prompt", nargs=-1)
@click.option("-m", "--model", help="Catalogue name, or path of a GGUF file.")
@click.option("-s", "--system", help="System prompt, or the name of a preset.")
@click.option("--raw", is_flag=True, help="Continue the text as it stands, without a template.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("-n", "--max-tokens", type=TOKENS, help="Longest answer in tokens.")
@click.option("-t", "--temperature", type=float, help="0 takes the most probable token.")
@click.option("--top-k", type=int, help="Draw from so many tokens; 0 is all.")
@click.option("--top-p", type=float, help="Draw from those that make up this probability.")
@click.option("--min-p", type=float, help="Leave out those below this share of the first.")
@click.option("--repeat-penalty", type=float, help="Above 1, a token repeats less.")
@click.option("--seed", type=int, help="Repeats a run exactly.")
@click.option("--stop", multiple=True, help="Text that ends the answer; may be repeated.")
@click.option("-c", "--ctx", type=CONTEXT, help="Tokens of context.")
@click.option("--threads", type=click.IntRange(1, 512), help="Fixed; otherwise follows the load.")
@click.option("--kv-type", type=click.Choice(["f16", "q8_0"]), help="Numbers of the KV cache.")
@click.option("--flash-attention", type=click.Choice(["on", "off"]), help="Default: off on a CPU.")
@click.option("--repack", type=click.Choice(["on", "off"]), help="Default: on if memory allows.")
@click.option("--schema", type=INPUT, metavar="FILE", help="JSON schema the answer keeps to.")
@click.option(
    "--lora",
    multiple=True,
    metavar="FILE[:SCALE]",
    help="LoRA adapter for this model; may be repeated.",
)
@click.option("--ignore-eos", is_flag=True, help="For measuring: an end token does not end it.")
@click.option("--baseline", help="Cloud model that the cost is compared with.")
def run(prompt: tuple[str, ...], **options: Any) -> None:
    """Answer PROMPT, or what comes through a pipe, or both (the pipe after the prompt).

    What no option says, the settings do: `ondevice settings`.
    """
    paths = user_paths()
    chosen = settings_for(*USED)
    text = _prompt_text(prompt)
    file = local.resolve(options["model"] or chosen.model, catalog.load(paths.user_catalogue))
    request = _request(text, file, options, chosen)
    price = _price(options["baseline"] or chosen.baseline, file)
    engine = registry.in_child(file.engine)
    try:
        info = engine.load(file, _load_options(options, chosen))
        talk = sys.stderr.isatty() and not options["as_json"]
        measured = _show(measure(engine, info, request, price), info, options["as_json"], talk)
    except KeyboardInterrupt:
        engine.cancel()
        raise
    finally:
        engine.close()
    if options["as_json"]:
        import msgspec  # already loaded by the wire

        document = _document(file, info, measured)
        click.echo(msgspec.json.format(msgspec.json.encode(document)).decode())


def _prompt_text(words: tuple[str, ...]) -> str:
    parts = [" ".join(words)] if words else []
    if not sys.stdin.isatty():
        parts.append(sys.stdin.buffer.read().decode("utf-8", "replace"))
    text = "\n\n".join(part for part in parts if part.strip())
    if not text:
        raise errors.UsageTrouble(
            "there is no prompt", hint='Try: ondevice run "Why is the sky blue?"'
        )
    return storable(text)


def _request(
    text: str, file: ModelFile, options: dict[str, Any], chosen: Settings
) -> GenerationRequest:
    if options["raw"] and options["system"]:
        raise errors.UsageTrouble("--raw takes no --system", hint="Put it all into the prompt.")
    raw = options["raw"] or (file.use == "base" and not options["system"])
    given = {name: options[name] for name in SAMPLED if options[name] is not None}
    try:
        sampling = replace(chosen.sampling, **given)
    except ValueError as error:
        raise errors.UsageTrouble(str(error), hint="See: ondevice run --help") from error
    system = chosen.system if options["system"] is None else options["system"]
    return GenerationRequest(
        prompt=Prompt(text=text) if raw else Prompt.chat(text, chosen.prompt_of(system)),
        sampling=sampling,
        max_tokens=options["max_tokens"] or chosen.max_tokens,
        stop=options["stop"],
        ignore_eos=options["ignore_eos"],
        schema=_schema(options["schema"]),
    )


def _schema(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            return file.read(MOST_SCHEMA_BYTES + 1).decode("utf-8")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise errors.UsageTrouble(
            f"the schema {clean_line(str(path))} cannot be read: {why}", hint="Check the path."
        ) from error


def _adapter(text: str) -> Adapter:
    """FILE or FILE:SCALE; a file that has the whole name is that file."""
    name, colon, scale = text.rpartition(":")
    with contextlib.suppress(ValueError):
        if colon and not os.path.exists(text):  # noqa: PTH110 - pathlib's raises for a long name
            found = float(scale)
            if not math.isfinite(found):
                raise errors.UsageTrouble(
                    f"the scale of a LoRA adapter is {scale}", hint="Give a number, such as 0.5."
                )
            return Adapter(Path(name).absolute(), found)
    return Adapter(Path(text).absolute())


def _load_options(options: dict[str, Any], chosen: Settings) -> LoadOptions:
    on_off = {"on": True, "off": False, None: None}
    usual = chosen.load_options
    return LoadOptions(
        n_ctx=options["ctx"] or usual.n_ctx,
        threads=options["threads"] or usual.threads,
        flash_attention=on_off[options["flash_attention"]],
        repack=on_off[options["repack"]],
        kv_type=options["kv_type"] or usual.kv_type,
        adapters=tuple(map(_adapter, options["lora"])),
    )


def _price(baseline: str, file: ModelFile) -> Price | None:
    if file.random_weights or file.engine == "echo":
        return None
    return pricing.price(baseline or pricing.DEFAULT_BASELINE, cache_dir=user_paths().cache)


def _show(events: Any, info: EngineInfo, quiet: bool, talk: bool) -> Measured:
    """Print the answer as it comes; the last event is returned."""
    for notice in info.notices:
        _say(notice.message, talk)
    measured: Measured | None = None
    for event in events:
        measured = _show_event(event, quiet, talk) or measured
    assert measured is not None  # measure ends with it, or raises
    if not quiet:
        click.echo()
        _say(_summary(info, measured), talk)
    return measured


def _show_event(event: MeasureEvent, quiet: bool, talk: bool) -> Measured | None:
    match event:
        case TextDelta(text=text) if not quiet:
            # not click's echo: it takes escapes out of a pipe, where data must stay as it is
            sys.stdout.write(clean(text) if sys.stdout.isatty() else text)
            sys.stdout.flush()
        case EngineNotice(message=message):
            _say(message, talk)
        case PrefillProgress(eta_s=float(eta)) if eta > 1:
            _say(f"reading the prompt, {units.duration(eta)} left", talk)
        case Measured():
            return event
    return None


def _say(line: str, talk: bool) -> None:
    if talk:
        click.secho(clean_line(line), err=True, dim=True)


def _summary(info: EngineInfo, measured: Measured) -> str:
    done, memory = measured.done, measured.memory
    parts = [
        f"decode {units.rate(done.decode_tok_per_s)}",
        f"first token {units.duration(done.timings.ttft_s)}",
        f"private {units.size(memory.peak_private_bytes)}",
        f"model pages {units.size(memory.model_pages_bytes)}",
    ]
    if measured.cost:
        price = measured.cost.price
        parts.append(f"avoided {units.money(measured.cost.usd)} vs {price.title}")
    return " · ".join(parts)


def _document(file: ModelFile, info: EngineInfo, measured: Measured) -> dict[str, Any]:
    done, memory, cost = measured.done, measured.memory, measured.cost
    return {
        "text": measured.text,
        "model": file.name,
        "engine": info.engine,
        "backend": info.backend,
        "finish_reason": done.finish_reason,
        "usage": {
            "prompt_tokens": done.usage.prompt_tokens,
            "cached_tokens": done.usage.cached_tokens,
            "completion_tokens": done.usage.completion_tokens,
        },
        "timings": {
            "load_s": info.load_s,
            "ttft_s": done.timings.ttft_s,
            "prefill_s": done.timings.prefill_s,
            "decode_s": done.timings.decode_s,
            "prefill_tok_per_s": done.prefill_tok_per_s,
            "decode_tok_per_s": done.decode_tok_per_s,
        },
        "memory": {
            "peak_private_bytes": memory.peak_private_bytes,
            "model_pages_bytes": memory.model_pages_bytes,
        },
        "cost_avoided": cost
        and {
            "baseline": cost.price.baseline,
            "usd": str(cost.usd),
            "price_date": cost.price.price_date.isoformat(),
        },
        "threads": done.threads,
        "n_ctx": done.n_ctx,
        "lora": [{"file": storable(str(each.path)), "scale": each.scale} for each in info.adapters],
        "notices": [
            {"code": notice.code, "message": notice.message}
            for notice in (*info.notices, *measured.notices)
        ],
    }
