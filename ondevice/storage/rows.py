"""What a row is in the domain, and the other way round."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime

from ondevice.domain.measured import Measured
from ondevice.domain.prompt import Attachment
from ondevice.domain.session import Session, SessionTree, StoredMessage
from ondevice.domain.text import storable
from ondevice.hardware.probe import process_mark

MESSAGES = """SELECT message.*, useful, prompt_tokens, cached_tokens, completion_tokens,
    ttft_s, decode_tok_per_s FROM message LEFT JOIN answer ON answer.id = message.id"""
"""Messages with their numbers."""


def session_of(row: sqlite3.Row) -> Session:
    return Session(row["id"], row["title"], row["created_at"], row["system_prompt"])


def message_of(row: sqlite3.Row) -> StoredMessage:
    return StoredMessage(
        id=row["id"],
        session_id=row["session_id"],
        role=row["role"],
        content=row["content"],
        state=row["state"],
        model=row["model"],
        completion_tokens=row["completion_tokens"] or 0,
        decode_tok_per_s=row["decode_tok_per_s"],
        finish_reason=row["finish_reason"],
        parent_id=row["parent_id"],
        prompt_tokens=row["prompt_tokens"] or 0,
        cached_tokens=row["cached_tokens"] or 0,
        ttft_s=row["ttft_s"],
        useful=bool(row["useful"]),
        attached=_attached(row["attached"]),
        kept_from=row["kept_from"],
    )


def _attached(text: str | None) -> tuple[Attachment, ...]:
    """What cannot be read, as nothing else writes it, is left out rather than its message."""
    if not text:
        return ()
    import msgspec  # deferred, as below

    try:
        return msgspec.json.decode(text, type=tuple[Attachment, ...])
    except msgspec.MsgspecError:
        return ()


def insert_session(
    connection: sqlite3.Connection, title: str, created_at: str, system_prompt: str
) -> Session:
    cursor = connection.execute(
        "INSERT INTO session (title, created_at, system_prompt) VALUES (?, ?, ?)",
        (title, created_at, system_prompt),
    )
    return Session(_id_of(cursor), title, created_at, system_prompt)


def insert_message(
    connection: sqlite3.Connection, session_id: int, parent_id: int | None, message: StoredMessage
) -> int:
    """The new row's id; `message`'s own ids are not used."""
    values: dict[str, object] = {
        "session_id": session_id,
        "parent_id": parent_id,
        "role": message.role,
        "content": storable(message.content),
        "state": message.state,
        "writer": _writer(os.getpid()) if message.state == "streaming" else None,
        "model": storable(message.model),
        "finish_reason": message.finish_reason,
        "kept_from": message.kept_from,
    }
    if message.attached:
        import msgspec  # deferred: 19 ms, and few messages have any

        clean = [Attachment(storable(each.name), storable(each.text)) for each in message.attached]
        values["attached"] = msgspec.json.encode(clean).decode()
    return _id_of(_insert(connection, "message", values))


def insert_tree(connection: sqlite3.Connection, session: Session, tree: SessionTree) -> int | None:
    """The messages of `tree` with new ids, in a session that is there; the id of its head."""
    ids: dict[int | None, int | None] = {None: None}
    for message in tree.messages:
        renamed = replace(message, kept_from=ids.get(message.kept_from))
        new_id = insert_message(connection, session.id, ids[message.parent_id], renamed)
        restore_answer(connection, session, new_id, message)
        ids[message.id] = new_id
    return ids[tree.head_id]


def insert_answer(
    connection: sqlite3.Connection, message: StoredMessage, measured: Measured, counted: bool
) -> None:
    """The numbers of `message`, which ended just now."""
    now = datetime.now().astimezone()
    done, cost, electricity = measured.done, measured.cost, measured.electricity
    values: dict[str, object] = {
        "id": message.id,
        "session_id": message.session_id,
        "counted": counted,
        "billable": measured.billable,
        "at": now.astimezone(UTC).isoformat(timespec="seconds"),
        "day": now.date().isoformat(),
        "model": storable(message.model),
        "prompt_tokens": done.usage.prompt_tokens,
        "cached_tokens": done.usage.cached_tokens,
        "completion_tokens": done.usage.completion_tokens,
        "ttft_s": done.timings.ttft_s,
        "decode_tok_per_s": done.decode_tok_per_s,
        "seconds": done.timings.busy_s,
        "energy_tier": electricity.tier,
        "joules": electricity.joules,
        "electricity_usd": _text(electricity.usd),
    }
    if cost is not None:
        price = cost.price
        values |= {
            "baseline": price.baseline,
            "price_date": price.price_date.isoformat(),
            "input_usd_per_mtok": _text(price.input_usd_per_mtok),
            "output_usd_per_mtok": _text(price.output_usd_per_mtok),
            "cached_usd_per_mtok": _text(price.cached_usd_per_mtok),
            "batch_share": _text(price.batch_share),
            "cached_tokens_priced": cost.cached_tokens_priced,
            "usd": _text(cost.usd),
        }
    _insert(connection, "answer", values)


def restore_answer(
    connection: sqlite3.Connection, session: Session, message_id: int, message: StoredMessage
) -> None:
    """The numbers of an answer from elsewhere, uncounted; nothing where it has none."""
    numbers: dict[str, object] = {
        "useful": message.useful,
        "prompt_tokens": message.prompt_tokens,
        "cached_tokens": message.cached_tokens,
        "completion_tokens": message.completion_tokens,
        "ttft_s": message.ttft_s,
        "decode_tok_per_s": message.decode_tok_per_s,
    }
    if any(value is not None and value is not False and value != 0 for value in numbers.values()):
        about: dict[str, object] = {
            "id": message_id,
            "session_id": session.id,
            "counted": False,
            "billable": False,
            "at": session.created_at,
            "day": session.created_at[:10],
            "model": storable(message.model),
        }
        _insert(connection, "answer", about | numbers)


def still_runs(writer: str | None) -> bool:
    """Whether the process that wrote a message is still there."""
    pid, _, mark = (writer or "").partition(" ")
    return pid.isdecimal() and process_mark(int(pid)) == mark


def _writer(pid: int) -> str:
    """A process in a way that outlives it: numbers of processes are used again."""
    return f"{pid} {process_mark(pid)}"


def _insert(
    connection: sqlite3.Connection, table: str, values: dict[str, object]
) -> sqlite3.Cursor:
    names, marks = ", ".join(values), ", ".join("?" for _ in values)
    return connection.execute(
        f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values())
    )


def _id_of(cursor: sqlite3.Cursor) -> int:
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _text(number: object) -> str | None:
    """A decimal with all its digits."""
    return None if number is None else str(number)
