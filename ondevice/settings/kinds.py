"""What values a setting takes: how TOML has them, how they are checked, typed in and shown.

A kind refuses with a ValueError. `words` go on after "must be".
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from ondevice import units
from ondevice.domain.text import clean_line, storable

Document = dict[str, Any]
_NAN = Decimal("nan")
_LINE_END = re.compile(r"\r\n?")
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")


def parse(text: str) -> Document:
    """What TOML says, numbers exact. Raises ValueError or RecursionError."""
    return tomllib.loads(text, parse_float=_exact)


def _exact(text: str) -> Decimal:
    """One object for every NaN, so that documents with it can be compared; an exponent that no
    Decimal has is one, too."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return _NAN
    return _NAN if value.is_nan() else value


class Kind:
    """One kind of value."""

    words = ""

    def check(self, value: object) -> Any:
        """`value`, as TOML has it, in the form the program uses."""
        raise NotImplementedError

    def parse(self, text: str) -> Any:
        """What a person typed; `check` comes after."""
        return text.strip()

    def show(self, value: Any) -> str:
        """On one line."""
        return clean_line(str(value))

    def refuse(self) -> ValueError:
        return ValueError(f"must be {self.words}")


class Text(Kind):
    """Any text; a single word has no space around it."""

    words = "a text in quotes"

    def __init__(self, prose: bool = False) -> None:
        self.prose = prose
        """Sentences for a model, not a name."""

    def check(self, value: object) -> str:
        if not isinstance(value, str):
            raise self.refuse()
        text = _LINE_END.sub("\n", storable(value))  # a file gives no other one back
        return text if self.prose else text.strip()

    def parse(self, text: str) -> str:
        return text


class Choice(Kind):
    """One of a few words."""

    def __init__(self, *options: str) -> None:
        self.options = options
        self.words = " or ".join(options)

    def check(self, value: object) -> str:
        if value not in self.options:
            raise self.refuse()
        return str(value)


class Flag(Kind):
    """On or off; TOML writes true and false."""

    words = "true or false"
    SPELLINGS = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}

    def check(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise self.refuse()
        return value

    def parse(self, text: str) -> bool:
        spelled = self.SPELLINGS.get(text.strip().lower())
        if spelled is None:
            raise ValueError("must be on or off")
        return spelled

    def show(self, value: bool) -> str:
        return "on" if value else "off"


class Whole(Kind):
    """A whole number within bounds."""

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high
        self.words = f"a whole number from {units.count(low)} to {units.count(high)}"

    def check(self, value: object) -> int:
        if type(value) is not int or not self.low <= value <= self.high:  # a bool is an int, too
            raise self.refuse()
        return value

    def parse(self, text: str) -> int:
        grouped = _GROUPED.fullmatch(text.strip())
        try:
            return int(text.replace(",", "") if grouped else text)
        except ValueError:
            raise self.refuse() from None

    def show(self, value: int) -> str:
        return units.count(value)


class Layers(Whole):
    """How many layers a GPU is to hold: a number, or a word."""

    WORDS = ("auto", "all")

    def __init__(self) -> None:
        super().__init__(0, 10_000)
        self.words = f"{', '.join(self.WORDS)} or {self.words}"

    def check(self, value: object) -> Any:
        return value if value in self.WORDS else super().check(value)

    def parse(self, text: str) -> Any:
        word = text.strip().lower()
        return word if word in self.WORDS else super().parse(text)

    def show(self, value: int | str) -> str:
        return value if isinstance(value, str) else super().show(value)


class Size(Whole):
    """Bytes, or bytes a second; typed as `500K`, `5M`, `2 GB` too."""

    def parse(self, text: str) -> int:
        value = units.parse_size(text)
        if value is None:
            raise ValueError(f"{self.refuse()}, or such as 500K, 5M, 2G")
        return value

    def show(self, value: int) -> str:
        return units.size(value)


class Number(Kind):
    """A number within bounds, for arithmetic that is not exact."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        self.words = f"a number from {low:g} to {high:,.15g}"

    def check(self, value: object) -> float:
        exact = _decimal(value)
        if exact is None or not self.low <= float(exact) <= self.high:
            raise self.refuse()
        return float(exact)

    def parse(self, text: str) -> Decimal:
        return _typed(self, text)

    def show(self, value: float) -> str:
        return f"{value:g}"


PLACES = 12


class Amount(Kind):
    """A decimal that stays exact, or None where nobody said."""

    def __init__(self, high: int, example: str) -> None:
        self.high, self.example = Decimal(high), Decimal(example)
        self.words = f"a number from 0 to {units.count(high)}"

    def check(self, value: object) -> Decimal | None:
        exact = _decimal(value)
        if exact is None or not 0 <= exact <= self.high:
            raise self.refuse()
        if int(exact.as_tuple().exponent) < -PLACES:
            raise ValueError(f"must have at most {PLACES} decimal places")
        return exact

    def parse(self, text: str) -> Decimal:
        return _typed(self, text)

    def show(self, value: Decimal | None) -> str:
        return units.UNKNOWN if value is None else f"{value:f}"


class Entries(Kind):
    """A table of texts; `app.help` may stand with quotes or without."""

    words = "a table of texts"

    def __init__(self, entry: Text) -> None:
        self.entry = entry

    def check(self, value: object) -> Mapping[str, object]:
        """Names and values, of which each is still to be checked by `entry`."""
        if not isinstance(value, dict):
            raise self.refuse()
        return dict(flat(value))

    def show(self, value: Mapping[str, str]) -> str:
        return ", ".join(clean_line(name, 40) for name in value)


def _decimal(value: object) -> Decimal | None:
    """A finite number of TOML, read with Decimal for its floats."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    exact = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
    return exact if exact.is_finite() else None


def _typed(kind: Kind, text: str) -> Decimal:
    try:
        return Decimal(text.strip())
    except InvalidOperation:
        raise kind.refuse() from None


def flat(table: Mapping[str, object], before: str = "") -> list[tuple[str, object]]:
    """`{app: {help: x}}` as `app.help: x`; an empty table is nothing."""
    found: list[tuple[str, object]] = []
    for name, value in table.items():
        if isinstance(value, dict):
            found += flat(value, f"{before}{name}.")
        else:
            found.append((before + name, value))
    return found
