"""What more than one command takes: kinds of values, and the settings."""

from __future__ import annotations

import click

from ondevice import units
from ondevice.domain.text import clean_line
from ondevice.paths import user_paths
from ondevice.settings import Settings, SettingsFile

CONTEXT = click.IntRange(16, 1_000_000_000)
"""Tokens of context."""


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
