"""What the sessions screen says of one session, or of a place where something was found.

last used  when its last answer ended; without one, when it began
messages   on all of its paths
model      of its last answer
tokens     generated in its answers, on all paths
●          the session that is open in the chat
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from rich.text import Text

from ondevice import units
from ondevice.chat.transfer import speaker
from ondevice.domain.session import Found, Listed, Session, SessionTree, StoredMessage
from ondevice.domain.text import clean, clean_line
from ondevice.tui.screens.confirm import Lines
from ondevice.tui.screens.pick import Choice
from ondevice.tui.widgets.model_table import cell

WIDE = 100
OPEN = "●"
MARK = "bold underline"
"""Of what was searched: no colour, so that it is seen without any."""
SESSIONS = (("  TITLE", 0, 0), ("LAST USED", 17, 17), ("MESSAGES", 9, 9), ("MODEL", 18, 28),
            (" TOKENS", 8, 8))  # fmt: skip
PLACES = (("  TITLE", 24, 34), ("WHO", 12, 24), ("FOUND", 0, 0))
"""(title, columns with the gap, the same on a wide screen); 0 takes the rest."""
ACCOUNTS_STAY = "the accounts: what its answers used and avoided, without any text or title"
ACCOUNTS = "the accounts: what answers used and avoided, without any text or title"


class Row(NamedTuple):
    """One line of the table."""

    key: str
    listed: Listed | None
    """None for the open conversation where it is not stored, and for a place."""
    found: Found | None = None

    @property
    def session(self) -> Session | None:
        """None where it is not stored."""
        if self.found is not None:
            return self.found.session
        return self.listed.session if self.listed else None

    @property
    def message(self) -> StoredMessage | None:
        """What was found, if it is in a message."""
        return self.found.message if self.found else None


def rows(listed: Iterable[Listed], found: Sequence[Found] | None, stored: bool) -> Iterator[Row]:
    """Sessions, or the places where something was found.

    The open conversation is the first one where it is not `stored`.
    """
    if found is not None:
        for number, place in enumerate(found):
            yield Row(f"place {number}", None, place)
        return
    if not stored:
        yield Row("open", None)
    for each in listed:
        yield Row(str(each.session.id), each)


def columns(width: int, places: bool) -> list[tuple[str, int]]:
    """Titles and widths for a screen of `width` columns."""
    chosen = [
        (title, wide if width >= WIDE else narrow)
        for title, narrow, wide in (PLACES if places else SESSIONS)
    ]
    rest = max(12, width - 3 - sum(columns for _, columns in chosen))
    return [(title, columns or rest) for title, columns in chosen]


def cells(row: Row, width: int, open_id: int | None, here: SessionTree) -> list[Text]:
    """What stands in the columns; `here` is the open conversation."""
    shown = dict(columns(width, row.found is not None))
    if row.found is not None:
        message, session = row.found.message, row.found.session
        named = title(f"{_mark(session.id == open_id)} {session.title}", shown["  TITLE"])
        excerpt = _excerpt(row.found, shown["FOUND"] - 1)
        return [named, cell(speaker(message) if message else "the title"), excerpt]
    if row.listed is None:
        count = f"{units.count(len(here.messages)):>8}"
        named = title(f"{OPEN} {nameless(here)}", shown["  TITLE"])
        return [named, *map(cell, ("now", count, "", ""))]
    each = row.listed
    tokens = units.short_count(each.tokens) if each.tokens else "-"
    return [
        title(f"{_mark(each.session.id == open_id)} {each.session.title}", shown["  TITLE"]),
        cell(units.moment(each.used_at)),
        cell(f"{units.count(each.messages):>8}"),
        cell(clean_line(each.model, shown["MODEL"] - 1) or "-"),
        cell(f"{tokens:>7}"),
    ]


def title(words: str, width: int) -> Text:
    """As one cell that a space parts from the next, also where it is cut."""
    short = cell(words)
    short.truncate(width - 1, overflow="ellipsis")
    return short


def nameless(here: SessionTree) -> str:
    """The open conversation that is not stored."""
    return here.session.title if here.messages else "New session"


def detail(row: Row, here: SessionTree, kept: bool) -> Iterator[tuple[str, str]]:
    """All about it, as labels and words."""
    if row.found is not None:
        yield "session", row.found.session.title
        yield "found", clean_line(row.found.excerpt, 400)
        return
    session = row.session or here.session
    if row.listed is None:
        yield "session", nameless(here)
        until = "with its first message" if kept else "never: it is private"
        yield "kept", until
    else:
        yield "session", session.title
        yield (
            "begun",
            f"{units.moment(session.created_at)} · last used {units.moment(row.listed.used_at)}",
        )
    yield "system", session.system_prompt or "no system prompt"


def farewell(row: Row, set_aside: Sequence[Path]) -> tuple[str, Lines, str]:
    """Asked before a session is deleted: title, what goes and what stays, what Y does.

    Databases that were `set_aside` as damaged stay.
    """
    assert row.session is not None
    count = f"its {units.count(row.listed.messages)} messages" if row.listed else "its messages"
    lines = [
        ("deletes", f"{count} on all paths, from every byte of the database"),
        ("stays", ACCOUNTS_STAY),
        *(
            ("stays", f"a damaged database, which may hold parts of it: {file}")
            for file in set_aside
        ),
        ("", "It cannot be undone; an export to JSON can be taken in again."),
    ]
    return f"Delete {clean_line(row.session.title, 40)}?", lines, "deletes"


def farewell_to_all(listed: Sequence[Listed]) -> tuple[str, Lines, str]:
    """Asked before every session is deleted."""
    messages = units.count(sum(each.messages for each in listed))
    lines = [
        ("deletes", f"{messages} messages, from every byte of the database"),
        ("", "and what is left of databases that were damaged and set aside"),
        ("stays", ACCOUNTS),
        ("", "It cannot be undone."),
    ]
    count = units.count(len(listed))
    what = "the only session" if len(listed) == 1 else f"all {count} sessions"
    return f"Delete {what}?", lines, f"deletes {what}"


def prompts(presets: Iterable[tuple[str, str]], current: str) -> list[Choice]:
    """What a system prompt can begin from, by number; 0 is what there is."""
    first = Choice("0", "as it is" if current else "none yet", clean_line(current, 60))
    rest = [
        Choice(str(number), name, clean_line(text, 60))
        for number, (name, text) in enumerate(presets, start=1)
    ]
    return [first, *rest]


def _mark(is_open: bool) -> str:
    return OPEN if is_open else " "


def _excerpt(found: Found, width: int) -> Text:
    """The words around the first mark, in `width` columns, with every mark."""
    begin = found.marks[0][0] if found.marks else 0
    skipped = max(0, begin - width // 3) if len(found.excerpt) > width else 0
    shown = cell("…" if skipped else "")
    edges = sorted({skipped, len(found.excerpt), *(at for mark in found.marks for at in mark)})
    edges = [at for at in edges if at >= skipped]
    for start, end in pairwise(edges):
        marked = any(first <= start and end <= last for first, last in found.marks)
        words = re.sub(r"\s+", " ", clean(found.excerpt[start:end]))
        shown.append(words, style=MARK if marked else None)
    return shown
