"""Where words are: in titles, and in the messages of every path."""

from __future__ import annotations

import re

from ondevice.domain.session import Found, StoredMessage
from ondevice.domain.text import storable
from ondevice.storage.database import Database
from ondevice.storage.rows import MESSAGES, message_of, session_of

EXCERPT_WORDS = 16
BEGIN, END = "\x02", "\x03"
"""What the index puts around the words it found; a message's own are lost from its excerpt, as
they are wherever it is shown."""
_MARKED = re.compile(f"([{BEGIN}{END}])")
_STOP_WORDS = """
    a an and are as at be been but by can could did do does for from had has have he her him his
    how i if in into is it its me my no not of on or our she so than that the their them then there
    these they this to was we were what when where which who why will with would you your
    das dem den der des die ein eine einem einen einer es für ich ist mit nicht sie und von wie wir
    zu
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Words that are in nearly every message: they find nothing and cost the most."""


def find(database: Database, text: str, limit: int) -> list[Found]:
    """Titles and then messages with all words of `text`, the last one perhaps unfinished."""
    words = words_of(storable(text))
    if not words:
        return []
    sessions = map(session_of, database.rows("SELECT * FROM session ORDER BY id DESC"))
    titles = [
        Found(each, None, None, each.title, _in_title(words, each.title))
        for each in sessions
        if _is_title(words, each.title)
    ]
    return (titles + _in_messages(database, words, limit))[:limit]


def words_of(text: str) -> list[str]:
    """What to look for: `text` without stop words, or with them where nothing else is left."""
    words = text.replace("\0", " ").split()
    return [word for word in words if word.casefold() not in STOP_WORDS] or words


def query_of(words: list[str]) -> str:
    """All of `words` as FTS5 reads it: each in quotes, or its signs would be commands.

    The last one may go on, unless a sign ends it.
    """
    quoted = ['"' + word.replace('"', '""') + '"' for word in words]
    return " ".join(quoted) + ("*" if words[-1][-1].isalnum() else "")


def _is_title(words: list[str], title: str) -> bool:
    return all(word.casefold() in title.casefold() for word in words)


def _in_title(words: list[str], title: str) -> tuple[tuple[int, int], ...]:
    """Where the words are; not those that another case makes longer."""
    places = (re.finditer(re.escape(word), title, re.IGNORECASE) for word in words)
    return tuple(sorted({match.span() for found in places for match in found}))


def _in_messages(database: Database, words: list[str], limit: int) -> list[Found]:
    hits = database.rows(
        f"""SELECT rowid, snippet(found_in, 0, ?, ?, '…', {EXCERPT_WORDS}) AS excerpt
            FROM found_in WHERE found_in MATCH ? ORDER BY rank LIMIT ?""",
        BEGIN,
        END,
        query_of(words),
        limit,
    )
    found = []
    for hit in hits:  # one by one: a joined row would have two ids, and there are few
        for row in database.rows(f"{MESSAGES} WHERE message.id = ?", hit["rowid"]):
            message = message_of(row)
            sessions = database.rows("SELECT * FROM session WHERE id = ?", message.session_id)
            for session in sessions:  # none where it was deleted meanwhile
                number, excerpt = _number_of(database, message), _unmarked(hit["excerpt"])
                found.append(Found(session_of(session), message, number, *excerpt))
    return found


def _number_of(database: Database, message: StoredMessage) -> int:
    """See `SessionTree.numbers`; ids grow with time."""
    (row,) = database.rows(
        "SELECT count(*) AS number FROM message WHERE session_id = ? AND id <= ?",
        message.session_id,
        message.id,
    )
    return int(row["number"])


def _unmarked(excerpt: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    """The text without the marks, and where they were."""
    text, begun = "", None
    marks = []
    for part in _MARKED.split(excerpt):
        if part == BEGIN:
            begun = len(text)
        elif part == END:
            if begun is not None:
                marks.append((begun, len(text)))
            begun = None
        else:
            text += part
    return text, tuple(marks)
