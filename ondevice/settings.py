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


def load(path: Path) -> Settings:
    """The settings of `path`; defaults where it does not exist. Raises SettingsInvalid."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{path} cannot be read: {error}") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsInvalid(f"{path} is not TOML: {error}", hint="Mend that line.") from error
    known = {field.name: field for field in fields(Settings)}
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}."
            raise SettingsInvalid(f"{path}: no setting is called {clean_line(name)}", hint=hint)
        wanted = type(known[name].default)
        if type(value) is not wanted or (isinstance(value, int) and value < 0):
            kind = "a number, 0 or more" if wanted is int else "a text in quotes"
            raise SettingsInvalid(f"{path}: {name} must be {kind}")
    return Settings(**values)
