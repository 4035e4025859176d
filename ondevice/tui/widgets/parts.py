"""What the context is filled with, as a bar and in words; told apart by pattern, not by colour."""

from __future__ import annotations

from ondevice import units
from ondevice.domain.context import ContextParts

PATTERNS = {"system": "▓", "history": "█", "attached": "▒", "free": "░"}
"""Of the cells of each part, in the order of the bar."""
NO_BOUND = "no bound"
"""What is free where nothing bounds the context."""


def amounts(parts: ContextParts) -> dict[str, int]:
    """Tokens by part; they add up to the context, or to what is used where nothing bounds it."""
    prompt = parts.prompt
    return {
        "system": prompt.system,
        "history": prompt.history,
        "attached": prompt.attached,
        "free": parts.free or 0,
    }


def parts_bar(parts: ContextParts, width: int) -> str:
    """`width` cells in proportion; what has a token has a cell, as long as there are enough."""
    by_part = amounts(parts)
    there = [name for name, tokens in by_part.items() if tokens > 0]
    if not there or width < len(there):
        return PATTERNS["free"] * width
    left, total = width - len(there), sum(by_part.values())
    cells = {name: 1 + left * by_part[name] // total for name in there}
    largest = max(there, key=lambda name: by_part[name])
    cells[largest] += width - sum(cells.values())
    return "".join(PATTERNS[name] * count for name, count in cells.items())


def words(parts: ContextParts) -> dict[str, str]:
    """The amounts, short."""
    short = {name: units.short_count(tokens) for name, tokens in amounts(parts).items()}
    return short if parts.n_ctx is not None else {**short, "free": NO_BOUND}


def legend(parts: ContextParts) -> list[str]:
    """Two rows of at most 36 columns: every part with its pattern and its tokens."""
    named = [f"{PATTERNS[name]} {name} {amount}" for name, amount in words(parts).items()]
    return [f"{named[0]:<18}{named[1]}", f"{named[2]:<18}{named[3]}"]


def short_legend(parts: ContextParts) -> str:
    """The same in one row, without the names."""
    return "  ".join(f"{PATTERNS[name]} {amount}" for name, amount in words(parts).items())


def whole_legend(parts: ContextParts) -> list[str]:
    """A row for each part, its tokens in full."""
    whole = {name: units.count(tokens) for name, tokens in amounts(parts).items()}
    if parts.n_ctx is None:
        whole["free"] = NO_BOUND
    width = max(map(len, whole.values()))
    return [f"{PATTERNS[name]} {name:<9}{amount:>{width}}" for name, amount in whole.items()]
