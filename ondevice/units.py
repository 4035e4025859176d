"""The only place that turns numbers and times into words, and sizes in words into numbers.

Memory and files use binary steps with the names people know (1 GB here is 2**30 bytes), as
process monitors do. Unknown values read "unknown".
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from decimal import Decimal

UNKNOWN = "unknown"


def size(value: int | None) -> str:
    """Bytes: `512 B`, `97 MB`, `2.1 GB`."""
    if value is None:
        return UNKNOWN
    amount, unit = float(value), "B"
    for bigger in ("KB", "MB", "GB", "TB"):
        if amount < 999.5:
            break
        amount, unit = amount / 1024, bigger
    return f"{amount:.1f} {unit}" if unit != "B" and amount < 9.95 else f"{amount:.0f} {unit}"


def parse_size(text: str) -> int | None:
    """`500K`, `5M`, `1.5 GB` or plain bytes, in binary steps; None for anything else."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)\s*([KMGT]?)B?", text.strip(), re.IGNORECASE)
    if found is None:
        return None
    return int(Decimal(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " "))


def rate(tok_per_s: float | None) -> str:
    """Tokens per second: `9.8 tok/s`, `142 tok/s`."""
    if tok_per_s is None or not math.isfinite(tok_per_s):
        return UNKNOWN
    return f"{tok_per_s:.1f} tok/s" if tok_per_s < 99.95 else f"{tok_per_s:.0f} tok/s"


def duration(seconds: float | None) -> str:
    """`0.08 s`, `4.1 s`, `31 s`, `2 min 05 s`, `1 h 02 min`."""
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    if seconds < 0.995:
        return f"{seconds:.2f} s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def moment(at: str) -> str:
    """A time in ISO 8601 as the local one, to the minute; empty where it is none."""
    try:
        return f"{datetime.fromisoformat(at).astimezone():%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError):  # the latter: the first day of all, in another zone
        return ""


def count(value: int | None) -> str:
    """A number of things: `1,204`."""
    return UNKNOWN if value is None else f"{value:,}"


def short_count(value: int | None) -> str:
    """Where room is scarce: `312`, `2.9k`, `131k`, `3.8B` for parameters."""
    if value is None:
        return UNKNOWN
    if value < 1000:
        return str(value)
    amount, unit = float(value), ""
    for bigger in ("k", "M", "B"):
        if amount < 999.5:
            break
        amount, unit = amount / 1000, bigger
    return f"{amount:.1f}{unit}" if amount < 9.95 else f"{amount:.0f}{unit}"


def share(value: float | None) -> str:
    """A part of a whole: `97.1 %`; `100 %` and `0 %` only where it is all or nothing."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value in (0.0, 1.0):
        return f"{value * 100:.0f} %"
    return f"{min(max(value * 100, 0.1), 99.9):.1f} %"


def estimate(value: float | None, standard_error: float | None) -> str:
    """A mean and its standard error, to the error's second digit: `18.3 ± 1.2`."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if not standard_error or not math.isfinite(standard_error):
        return f"{value:.4g}"
    places = min(max(0, 1 - math.floor(math.log10(standard_error))), 9)
    return f"{value:,.{places}f} ± {standard_error:,.{places}f}"


def money(usd: Decimal | None) -> str:
    """US dollars, two significant digits below ten cents: `$1,204.50`, `$0.31`, `-$0.0031`."""
    if usd is None or not usd.is_finite():
        return UNKNOWN
    if usd == 0:
        return "$0"
    sign, amount = ("-" if usd < 0 else ""), abs(usd)
    places = max(2, 1 - amount.adjusted())
    return f"{sign}${amount:,.{places}f}"
