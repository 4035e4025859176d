"""What more than one command takes: options, kinds of values, and the settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ondevice import units
from ondevice.cli.model_names import LORA, MODEL_HERE
from ondevice.domain.device import GpuLayers
from ondevice.domain.text import clean_line
from ondevice.paths import user_paths
from ondevice.settings import Settings, SettingsFile
from ondevice.settings.kinds import Layers

Command = TypeVar("Command", bound=Callable[..., Any])


class Whole(click.types.IntParamType):
    """A whole number."""

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        try:
            whole = int(str(value))
        except ValueError:
            self.fail(f"{clean_line(str(value), 40)!r} is no whole number", param, ctx)
        return super().convert(whole, param, ctx)


class WholeIn(Whole, click.IntRange):
    """The same within limits."""


class Number(click.types.FloatParamType):
    """With or without a fraction."""

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            return float(str(value))
        except ValueError:
            self.fail(f"{clean_line(str(value), 40)!r} is no number", param, ctx)


WHOLE, NUMBER = Whole(), Number()
CONTEXT = WholeIn(16, 1_000_000_000)
"""Tokens of context."""
TOKENS = WholeIn(1, 1_000_000_000)
THREADS = WholeIn(1, 512)
INPUT = click.Path(path_type=Path)


class LayersType(click.ParamType[GpuLayers]):
    """What the setting `gpu_layers` takes."""

    name = "auto|N|all"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> GpuLayers:
        kind = Layers()
        try:
            layers: GpuLayers = kind.check(kind.parse(str(value)))
        except ValueError as error:
            self.fail(f"{clean_line(str(value), 40)!r}: it {error}", param, ctx)
        return layers


GPU_LAYERS = LayersType()
ON_OFF = click.Choice(["on", "off"])
KEPT = ("keep_prefixes", "keep_prefixes_bytes")
"""The settings that say what states may stay."""
MOST_DIGITS = 20
"""More than any number has that is kept; thousands of them Python itself refuses."""


def number_of(text: str) -> int | None:
    """The number that was typed; None where it is none. A very long one is cut: nothing has it."""
    return int(text.lstrip("0")[:MOST_DIGITS] or "0") if text.isdecimal() else None


def session_id(text: str) -> int:
    """The type of a conversation's number; whether there is one, the database says."""
    number = number_of(text)
    if number is None:
        raise click.BadParameter(f"{clean_line(text, 40)!r} is not a valid number.")
    return number


def _together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """One decorator for `options`, listed by --help in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


of_model = _together(
    click.option(
        "-m", "--model", type=MODEL_HERE,
        help="Catalogue name, or path of a GGUF file or an ONNX folder.",
    ),
    click.option("-s", "--system", help="System prompt, or the name of a preset."),
)  # fmt: skip
of_answer = _together(
    click.option("-n", "--max-tokens", type=TOKENS, help="Longest answer in tokens."),
    click.option("-t", "--temperature", type=NUMBER, help="0 takes the most probable token."),
    click.option("--top-k", type=WHOLE, help="Draw from so many tokens; 0 is all."),
    click.option("--top-p", type=NUMBER, help="Draw from those that make up this probability."),
    click.option("--min-p", type=NUMBER, help="Leave out those below this share of the first."),
    click.option("--repeat-penalty", type=NUMBER, help="Above 1, a token repeats less."),
    click.option("--seed", type=WHOLE, help="Repeats a run exactly."),
    click.option("--schema", type=INPUT, metavar="FILE", help="JSON schema the answer keeps to."),
)
of_gpu = click.option(
    "--gpu-layers", type=GPU_LAYERS, help="Layers on a GPU. Default: auto, as many as fit."
)
of_loading = _together(
    click.option("-c", "--ctx", type=CONTEXT, help="Tokens of context."),
    click.option("--threads", type=THREADS, help="Fixed; else follows the load."),
    of_gpu,
    click.option("--kv-type", type=click.Choice(["f16", "q8_0"]), help="Numbers of the KV cache."),
    click.option("--flash-attention", type=ON_OFF, help="Default: off on a CPU."),
    click.option("--repack", type=ON_OFF, help="Default: on if memory allows."),
    click.option(
        "--lora",
        type=LORA,
        multiple=True,
        metavar="FILE[:SCALE]",
        help="LoRA adapter for this model; may be repeated.",
    ),
)
of_costs = click.option("--baseline", help="Cloud model that the cost is compared with.")


class BytesPerSecond(click.ParamType[int]):
    """`500K`, `5M`, `1.5G`: binary steps, as everywhere here."""

    name = "rate"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        rate = units.parse_size(str(value).removesuffix("/s")) or 0
        if rate < 1:
            self.fail(f"{value!r} is no rate; such as 500K or 5M, in bytes per second", param, ctx)
        return rate


BYTES_PER_S = BytesPerSecond()


def settings_for(*uses: str) -> Settings:
    """This user's, for a command that `uses` these: what is wrong with others is only said.

    Raises SettingsInvalid for a fault in one of them, as the result would be another one.
    """
    settings, others = SettingsFile(user_paths().settings).load(*uses)
    for said in others:
        click.echo(f"ondevice: {clean_line(said, 500)}", err=True)
    return settings
