"""Where a text holds what somebody looks for: whatever the case, however accents are encoded."""

from __future__ import annotations

from functools import lru_cache
from unicodedata import combining, normalize


def found(text: str, query: str) -> list[tuple[int, int]]:
    """Begin and end of every place, in characters of `text`; none overlaps another.

    `e` is not found in `é`, whether that is one character or two.
    """
    wanted, _ = _folded(query)
    searched, origins = _folded(text)
    places: list[tuple[int, int]] = []
    at = searched.find(wanted) if wanted else -1
    while at >= 0:
        end = at + len(wanted)
        begun = at == 0 or origins[at - 1] != origins[at]
        ended = origins[end - 1] != origins[end] and not combining(searched[end : end + 1] or " ")
        if begun and ended:
            places.append((origins[at], origins[end]))
        at = searched.find(wanted, end if begun and ended else at + 1)
    return places


def _folded(text: str) -> tuple[str, list[int] | range]:
    """`text` as it is compared, and for each of its characters, and its end, where it came from."""
    if text.isascii():
        return text.lower(), range(len(text) + 1)
    parts = [_fold(character) for character in text]
    origins = [index for index, part in enumerate(parts) for _ in part]
    return "".join(parts), [*origins, len(text)]


@lru_cache(maxsize=4096)
def _fold(character: str) -> str:
    return normalize("NFD", normalize("NFD", character).casefold())
