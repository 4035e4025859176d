"""Text that a command reads whole, from a file or a pipe."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import click

from ondevice.domain.text import clean_line, storable
from ondevice.errors import UsageTrouble

TEXT_FILE = click.Path(allow_dash=True, path_type=Path)
"""The type of an option or argument; `-` is stdin."""
MOST_BYTES = 2 << 20
"""WikiText-2's test part, which perplexities are often given for, has 1.3 MB."""


def read_text(path: Path) -> str:
    """All of it. Raises UsageTrouble."""
    label = "stdin" if str(path) == "-" else clean_line(str(path))
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with path.open("rb") as file:
                data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageTrouble(f"{label} cannot be read: {reason}", hint="Check the path.") from error
    if len(data) > MOST_BYTES:
        raise UsageTrouble(f"{label} is over 2 MB", hint="Give a part of it.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageTrouble(f"{label} is no text in UTF-8") from None


def read_prompts(path: Path) -> list[str]:
    """One a line, blank ones left out; of a .jsonl file the `prompt` of each object, and so of
    stdin where its first line that is not blank begins with `{`.

    Raises UsageTrouble.
    """
    # not splitlines(), which also splits at what may stand in a prompt, such as U+2028
    text = io.StringIO(read_text(path), newline=None)
    lines = [line.rstrip("\n") for line in text if line.strip()]
    objects = bool(lines) and lines[0].lstrip().startswith("{")
    if path.suffix.lower() == ".jsonl" or (str(path) == "-" and objects):
        lines = [_prompt_of(line, number) for number, line in enumerate(lines, start=1)]
    if not lines:
        raise UsageTrouble("there is no prompt", hint="Write one a line.")
    return lines


def _prompt_of(line: str, number: int) -> str:
    try:
        found = json.loads(line)["prompt"]
    except (ValueError, LookupError, TypeError, RecursionError):
        found = None
    if not isinstance(found, str) or not found.strip():
        raise UsageTrouble(
            f"prompt {number} is no JSON object with a text `prompt`",
            hint='Such as: {"prompt": "Why is the sky blue?"}',
        )
    return storable(found)
