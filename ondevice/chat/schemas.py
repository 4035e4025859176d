"""A JSON schema that answers keep to, as a file."""

from __future__ import annotations

from pathlib import Path

from ondevice.domain.text import clean_line
from ondevice.errors import UsageTrouble

MOST_BYTES = 1 << 20


def read_schema(path: Path) -> str:
    """The text of the file; whether it is a schema, the engine says. Raises UsageTrouble."""
    try:
        with path.expanduser().open("rb") as file:
            return file.read(MOST_BYTES + 1).decode("utf-8")
    except (OSError, ValueError, RuntimeError) as error:  # the last: a home that is nobody's
        why = getattr(error, "strerror", None) or "it is no text"
        raise UsageTrouble(
            f"the schema {clean_line(str(path))} cannot be read: {why}", hint="Check the path."
        ) from error
