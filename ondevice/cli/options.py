"""Kinds of values that more than one command takes."""

from __future__ import annotations

import re

import click

CONTEXT = click.IntRange(16, 1_000_000_000)
"""Tokens of context."""


class BytesPerSecond(click.ParamType[int]):
    """`500K`, `5M`, `1.5G`: binary steps, as everywhere here."""

    name = "rate"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)\s*([KMG]?)B?(?:/s)?", str(value), re.I)
        steps = {"": 0, "K": 1, "M": 2, "G": 3}
        rate = int(float(found[1]) * 1024 ** steps[found[2].upper()]) if found else 0
        if rate < 1:
            self.fail(f"{value!r} is no rate; such as 500K or 5M, in bytes per second", param, ctx)
        return rate


BYTES_PER_S = BytesPerSecond()
