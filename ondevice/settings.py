"""What a person chose to keep: `settings.toml` in the config folder."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from ondevice.domain.text import clean_line
from ondevice.errors import SettingsInvalid


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting with its default."""

    model: str = "starter"
    """A catalogue name or the path of a GGUF file."""
    context: int = 0
    """Tokens of context; 0 lets the engine choose."""
    threads: int = 0
    """Fixed thread count; 0 follows the load."""
    baseline: str = ""
    """The cloud model that costs are compared with; empty is the default one."""
    max_tokens: int = 1024
    """Longest answer, in tokens."""
    download_bytes_per_s: int = 0
    """Fetch models no faster; 0 is no limit."""


MEND = "Mend that line, or remove it."
_RANGES = {
    "context": (0, 1_000_000_000),
    "threads": (0, 512),
    "max_tokens": (1, 1_000_000_000),
    "download_bytes_per_s": (0, 1_000_000_000_000),
}


def load(path: Path) -> Settings:
    """The settings of `path`; defaults where it does not exist. Raises SettingsInvalid."""
    label = clean_line(str(path))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):  # the latter: HOME=/dev/null
        return Settings()
    except OSError as error:
        raise SettingsInvalid(f"{label} cannot be read: {error.strerror}", "Check it.") from error
    except UnicodeDecodeError as error:
        raise SettingsInvalid(f"{label} is not UTF-8", hint="Save it as UTF-8.") from error
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also thousands of digits or brackets
        raise SettingsInvalid(f"{label} is not TOML: {error}", MEND) from error
    for name, value in values.items():
        _check(name, value, label)
    return Settings(**values)


def _check(name: str, value: object, label: str) -> None:
    known = {field.name: field for field in fields(Settings)}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}."
        raise SettingsInvalid(f"{label}: no setting is called {clean_line(name)}", hint=hint)
    if name not in _RANGES:
        if not isinstance(value, str):
            raise SettingsInvalid(f"{label}: {name} must be a text in quotes", MEND)
        return
    low, high = _RANGES[name]
    if type(value) is not int or not low <= value <= high:  # a bool is an int, too
        raise SettingsInvalid(f"{label}: {name} must be a whole number from {low} to {high}", MEND)
