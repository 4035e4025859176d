"""What `run` and `chat` share: what their options mean, and how they write."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ondevice import errors, pricing
from ondevice.chat.schemas import read_schema
from ondevice.domain.cost import Price
from ondevice.domain.generation import Adapter, LoadOptions, Sampling
from ondevice.domain.model import ModelFile
from ondevice.domain.text import clean, clean_line
from ondevice.paths import user_paths
from ondevice.settings import Settings

SAMPLED = ("temperature", "top_k", "top_p", "min_p", "repeat_penalty", "seed")
USED = (
    "model",
    "context",
    "threads",
    "kv_type",
    "gpu_layers",
    "max_tokens",
    "system",
    "presets",
    "sampling",
    "baseline",
    "tariff_usd_per_kwh",
    "watts",
)
"""The settings that an option's absence leaves to the file."""

Options = Mapping[str, Any]
"""What click made of the options of `ondevice.cli.options`."""


def sampling(options: Options, chosen: Settings) -> Sampling:
    """Raises UsageTrouble for a value out of its range."""
    given = {name: options[name] for name in SAMPLED if options[name] is not None}
    try:
        return replace(chosen.sampling, **given)
    except ValueError as error:
        command = click.get_current_context().command_path
        raise errors.UsageTrouble(str(error), hint=f"See: {command} --help") from error


def system_prompt(options: Options, chosen: Settings) -> str:
    """The text that is meant, be it by a preset's name."""
    given = options["system"]
    return chosen.prompt_of(chosen.system if given is None else given)


def load_options(options: Options, chosen: Settings) -> LoadOptions:
    """Raises UsageTrouble for a scale that is no number."""
    on_off = {"on": True, "off": False, None: None}
    usual, layers = chosen.load_options, options["gpu_layers"]
    return LoadOptions(
        n_ctx=options["ctx"] or usual.n_ctx,
        threads=options["threads"] or usual.threads,
        flash_attention=on_off[options["flash_attention"]],
        repack=on_off[options["repack"]],
        gpu_layers=usual.gpu_layers if layers is None else layers,
        kv_type=options["kv_type"] or usual.kv_type,
        adapters=tuple(map(adapter, options["lora"])),
    )


def adapter(text: str) -> Adapter:
    """FILE or FILE:SCALE; a file that has the whole name is that file. Raises UsageTrouble."""
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


def schema(path: Path | None) -> str | None:
    """The text of a schema's file. Raises UsageTrouble."""
    return read_schema(path) if path is not None else None


def price(baseline: str, file: ModelFile) -> Price | None:
    """What answers of `file` are compared with; None where they are no answers of a model."""
    if not file.counts:
        return None
    return pricing.price(baseline or pricing.DEFAULT_BASELINE, cache_dir=user_paths().cache)


def write_answer(text: str) -> None:
    """More of an answer, at once; without anything that a terminal would obey."""
    # not click's echo: it takes escapes out of a pipe, where data must stay as it is
    sys.stdout.write(clean(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def say(line: str, talk: bool = True, limit: int = 200) -> None:
    """One line of talk, of at most `limit` characters."""
    if talk:
        click.secho(clean_line(line, limit), err=True, dim=True)
