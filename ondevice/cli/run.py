"""`ondevice run`: one prompt, one answer, every number of it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import click

from ondevice import catalog, errors, units
from ondevice.cli import answering
from ondevice.cli.answering import Options, say, write_answer
from ondevice.cli.conditions import devices
from ondevice.cli.options import of_answer, of_costs, of_loading, of_model, settings_for
from ondevice.cli.progress import StatusLine
from ondevice.domain.generation import (
    COMPLETION_MODE,
    CUT_SHORT,
    EngineInfo,
    EngineNotice,
    GenerationRequest,
    PrefillProgress,
    Prompt,
    TextDelta,
)
from ondevice.domain.measured import Measured
from ondevice.domain.model import ModelFile
from ondevice.domain.text import clean_line, storable
from ondevice.engines import registry
from ondevice.hub import local
from ondevice.measure import MeasureEvent, measure
from ondevice.paths import user_paths
from ondevice.settings import Settings

REMIND_S = 2.0
REMINDER = "waiting for the end of stdin, as it is no terminal; without it: ... < /dev/null"


@click.command()
@click.argument("prompt", nargs=-1)
@of_model
@click.option("--raw", is_flag=True, help="Continue the text as it stands, without a template.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@of_answer
@click.option("--stop", multiple=True, help="Text that ends the answer; may be repeated.")
@of_loading
@click.option("--ignore-eos", is_flag=True, help="For measuring: an end token does not end it.")
@of_costs
def run(prompt: tuple[str, ...], **options: Any) -> None:
    """Answer PROMPT, or what comes through a pipe, or both (the pipe after the prompt).

    A pipe is read to its end. What no option says, the settings do: `ondevice settings`.
    """
    paths = user_paths()
    chosen = settings_for(*answering.USED)
    text = _prompt_text(prompt)
    file = local.resolve(options["model"] or chosen.model, catalog.load(paths.user_catalogue))
    request = _request(text, file, options, chosen)
    price = answering.price(options["baseline"] or chosen.baseline, file)
    engine, status = registry.in_child(file.engine), StatusLine(to_file=False)
    try:
        status.write(clean_line(f"loading {file.name} {file.quantization}".rstrip()) + " ...")
        info = engine.load(file, answering.load_options(options, chosen))
        status.clear()
        if request.prompt.text is not None and not options["raw"]:
            info = replace(info, notices=(*info.notices, COMPLETION_MODE))
        talk = sys.stderr.isatty() and not options["as_json"]
        events = measure(engine, info, request, price, power=chosen.power)
        measured = _show(_followed(events, status), info, options["as_json"], talk)
    except KeyboardInterrupt:
        engine.cancel()
        raise
    finally:
        status.clear()
        engine.close()
    if options["as_json"]:
        import msgspec  # already loaded by the wire

        document = _document(file, info, measured)
        click.echo(msgspec.json.format(msgspec.json.encode(document)).decode())
    if request.schema is not None and measured.done.finish_reason in CUT_SHORT:
        raise errors.EngineTrouble(
            f"the answer is not whole JSON: {CUT_SHORT[measured.done.finish_reason]}",
            hint="Allow more tokens with -n, or a larger context with -c.",
        )


def _prompt_text(words: tuple[str, ...]) -> str:
    parts = [" ".join(words)] if words else []
    _tell_of_files(" ".join(words))
    if not sys.stdin.isatty():
        parts.append(_piped())
    text = "\n\n".join(part for part in parts if part.strip())
    if not text:
        raise errors.UsageTrouble(
            "there is no prompt", hint='Try: ondevice run "Why is the sky blue?"'
        )
    return storable(text)


def _tell_of_files(typed: str) -> None:
    """Of a file that the app and `chat` would attach: here a pipe does that."""
    for word in typed.split():
        name = word[1:].rstrip(".,;:!?")
        if word.startswith("@") and os.path.isfile(name):  # noqa: PTH113 - pathlib's raises
            shown = clean_line(name, 100)
            say(f"@{shown} is sent as text; a pipe sends what is in it: ondevice run ... < FILE")


def _piped() -> str:
    """All of stdin. It may be slow, and none of it is left out; a pipe that nobody will end looks
    the same, so a person is told what is waited for."""
    reminder = threading.Timer(REMIND_S, say, [REMINDER])
    reminder.daemon = True
    reminder.start()
    try:
        return sys.stdin.buffer.read().decode("utf-8", "replace")
    finally:
        reminder.cancel()


def _request(text: str, file: ModelFile, options: Options, chosen: Settings) -> GenerationRequest:
    if options["raw"] and options["system"]:
        raise errors.UsageTrouble("--raw takes no --system", hint="Put it all into the prompt.")
    raw = options["raw"] or (file.use == "base" and not options["system"])
    system = answering.system_prompt(options, chosen)
    return GenerationRequest(
        prompt=Prompt(text=text) if raw else Prompt.chat(text, system),
        sampling=answering.sampling(options, chosen),
        max_tokens=options["max_tokens"] or chosen.max_tokens,
        stop=options["stop"],
        ignore_eos=options["ignore_eos"],
        schema=answering.schema(options["schema"]),
        text_shown=not options["as_json"],
    )


def _followed(events: Iterable[MeasureEvent], status: StatusLine) -> Iterator[MeasureEvent]:
    """What there is to be shown of `events`; until the first of it, how far the prompt is read."""
    for event in events:
        if isinstance(event, PrefillProgress):
            eta = event.eta_s or 0.0
            left = f", {units.duration(eta)} left" if eta > 1 else ""
            status.write(f"reading the prompt{left}")
        else:
            status.clear()
            yield event


def _show(events: Iterable[MeasureEvent], info: EngineInfo, quiet: bool, talk: bool) -> Measured:
    """Print the answer as it comes; the last event is returned."""
    for notice in info.notices:
        _tell(notice, quiet, talk)
    measured: Measured | None = None
    begun, late = False, list[EngineNotice]()
    for event in events:
        begun = begun or isinstance(event, TextDelta)
        if begun and isinstance(event, EngineNotice):  # it would stand in the answer's line
            late.append(event)
        else:
            measured = _show_event(event, quiet, talk) or measured
    assert measured is not None  # measure ends with it, or raises
    if not quiet:
        click.echo()
        for notice in late:
            _tell(notice, quiet, talk)
        say(_summary(info, measured), talk)
    return measured


def _tell(notice: EngineNotice, quiet: bool, talk: bool) -> None:
    """What was not done as asked is said to a file or a pipe, too, unless the document has it."""
    say(notice.message, talk or (notice.unmet and not quiet))


def _show_event(event: MeasureEvent, quiet: bool, talk: bool) -> Measured | None:
    match event:
        case TextDelta(text=text) if not quiet:
            write_answer(text)
        case EngineNotice():
            _tell(event, quiet, talk)
        case Measured():
            return event
    return None


def _summary(info: EngineInfo, measured: Measured) -> str:
    done, memory = measured.done, measured.memory
    parts = [
        f"decode {units.rate(done.decode_tok_per_s)}",
        f"first token {units.duration(done.timings.ttft_s)}",
        f"private {units.size(memory.peak_private_bytes)}",
        f"model pages {units.size(memory.model_pages_bytes)}",
    ]
    if early := CUT_SHORT.get(done.finish_reason):
        parts.insert(0, early)
    if info.offload and info.offload.layers:
        parts.append(f"device memory {units.size(info.offload.used_bytes)}")
    if cost := measured.cost:
        parts.append(f"{cost.label} {units.money(cost.net_usd)} vs {cost.price.title}")
    return " · ".join(parts)


def _document(file: ModelFile, info: EngineInfo, measured: Measured) -> dict[str, Any]:
    done, memory, cost = measured.done, measured.memory, measured.cost
    power = measured.electricity.usd
    return {
        "text": measured.text,
        "model": file.name,
        "engine": info.engine,
        "backend": info.backend,
        "devices": devices(info),
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
            "usd": f"{cost.usd:f}",
            "price_date": cost.price.price_date.isoformat(),
            "electricity_usd": power if power is None else f"{power:f}",
            "net_usd": f"{cost.net_usd:f}",
        },
        "threads": done.threads,
        "n_ctx": done.n_ctx,
        "flash_attention": info.flash_attention,
        "repacked": info.repacked,
        "mapped": info.mapped,
        "lora": [{"file": storable(str(each.path)), "scale": each.scale} for each in info.adapters],
        "notices": [
            {"code": notice.code, "message": notice.message}
            for notice in (*info.notices, *measured.notices)
        ],
    }
