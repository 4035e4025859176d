"""Copies go through the terminal, which never says whether it took one; so a file has it, too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ondevice import units
from ondevice.domain.thinking import split, style_of

LONGEST = 74_994
"""Bytes in UTF-8. Encoded with what stands around it that is a sequence of 100,000 bytes: the most
that terminals are commonly known to take; a longer one is dropped, or spoils the screen."""

Keep = Callable[[str], Path]
"""Writes a text to a private file and says where; raises OSError."""


def written(answer: str) -> str:
    """What a copy of an answer holds: no thinking; of one that was cut before it began, that."""
    parts = split(answer, style_of(answer))
    return parts.answer or parts.thinking


def copy(text: str, what: str, hand_over: Callable[[str], object], keep: Keep | None) -> str:
    """Hand `text` to the terminal if that may take it and, if it may be kept, to a file.

    Returns what became of it, in words that name it `what`.
    """
    length = len(text.encode())
    size = f"{units.count(len(text))} characters, {units.size(length)}"
    fits = length <= LONGEST
    if fits:
        hand_over(text)
    went = "handed to the terminal" if fits else "too long for a terminal"
    return f"The {what} ({size}) was {went}; {_kept(text, keep, fits)}."


def _kept(text: str, keep: Keep | None, also: bool) -> str:
    if keep is None:
        return "no file has it, as nothing of this session is kept"
    try:
        return f"it is {'also ' * also}in {keep(text)}"
    except OSError as error:
        return f"the file for it cannot be written: {error.strerror}"
