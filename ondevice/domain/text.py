"""Untrusted text: model output, model and file names, remote errors.

A terminal obeys control characters, so every such text passes `clean` before it is shown.
What is stored stays as the model wrote it.
"""

from __future__ import annotations

import re

# C0 except tab and newline, DEL and C1: escape sequences begin here.
# Bidirectional overrides and isolates: they make text read differently from what it is.
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# Line and paragraph separator: some terminals break the line there, some do not.
_BREAK = re.compile(r"[\u2028\u2029]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def clean(text: str) -> str:
    """`text` without anything a terminal would obey; newline and tab stay."""
    return _BREAK.sub("\n", _UNSAFE.sub("", storable(text)))


def clean_line(text: str, limit: int = 200) -> str:
    """`text` cleaned, on one line, at most `limit` characters."""
    line = " ".join(clean(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def storable(text: str) -> str:
    """`text` as valid UTF-8: lone surrogates become U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)
