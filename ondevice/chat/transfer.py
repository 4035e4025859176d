"""A session as Markdown for people, and as JSON that can be taken back in.

The JSON holds the whole tree with the numbers of its answers. What answers cost is not in it:
that is in the ledger of the machine that made them.
"""

from __future__ import annotations

import math
import os
import re
from contextlib import suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import msgspec

from ondevice import units
from ondevice.domain.generation import FinishReason, Role
from ondevice.domain.prompt import Attachment, fenced
from ondevice.domain.session import Session, SessionTree, StoredMessage
from ondevice.domain.text import clean_line
from ondevice.errors import NotASession, UsageTrouble

FORMAT = "ondevice-session"
VERSION = 1
MOST_BYTES = 256 << 20
"""Of a file that is taken in: more is refused before it is read."""

FORMS = {"md": "Markdown: what is shown", "json": "JSON: all of it, can be imported"}

Count = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
"""So small that no sum of them leaves 64 bits."""
Measure = Annotated[float, msgspec.Meta(ge=0)]


class _Attached(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text that goes with a message."""

    name: str
    text: str


class _Message(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """One message; its fields are those of StoredMessage."""

    id: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    """Of the file: 1 is the first message."""
    parent: int | None
    """An earlier message; null for a first one."""
    role: Role
    content: str
    state: Literal["complete", "interrupted"]
    model: str = ""
    finish_reason: FinishReason | Literal[""] = ""
    prompt_tokens: Count = 0
    cached_tokens: Count = 0
    completion_tokens: Count = 0
    ttft_s: Measure | None = None
    decode_tok_per_s: Measure | None = None
    useful: bool = False
    attached: tuple[_Attached, ...] = ()
    kept_from: int | None = None
    """Of a cut: an earlier message, see `domain.session`."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The document."""

    format: Literal["ondevice-session"]
    version: Literal[1]
    title: str
    created_at: str
    system_prompt: str
    head: int | None
    messages: list[_Message]


class _Label(msgspec.Struct, frozen=True):
    """What every version begins with."""

    format: str
    version: int


def to_json(tree: SessionTree) -> bytes:
    """The whole tree as one JSON document, with numbers of its own for the messages."""
    tree = tree.numbered
    document = _File(
        format="ondevice-session",
        version=1,
        title=tree.session.title,
        created_at=tree.session.created_at,
        system_prompt=tree.session.system_prompt,
        head=tree.head_id,
        messages=list(map(_written, tree.messages)),
    )
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def from_json(data: bytes) -> SessionTree:
    """The tree of such a document. Raises NotASession, whatever `data` is."""
    try:
        label = msgspec.json.decode(data, type=_Label)
        if label.format == FORMAT and label.version > VERSION:
            raise NotASession(
                f"this session is of format version {label.version}", hint="Update ondevice."
            )
        document = msgspec.json.decode(data, type=_File)
        datetime.fromisoformat(document.created_at)
        messages = tuple(_read(message) for message in document.messages)
        _check_tree(document)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise NotASession(
            f"this is no session that ondevice exported: {clean_line(str(error))}",
            hint="Export one with: ondevice sessions export ID --format json",
        ) from error
    session = Session(0, document.title, document.created_at, document.system_prompt)
    return SessionTree(session, messages, document.head)


def to_markdown(tree: SessionTree) -> str:
    """The path that is shown: who says what, with which model and at what speed."""
    session = tree.session
    parts = [f"# {session.title}", f"Begun {session.created_at}"]
    if session.system_prompt:
        parts += ["## System", session.system_prompt]
    for message in tree.path:
        parts.append(f"## {speaker(message)}")
        facts = facts_of(message)
        parts += [f"*{facts}*"] if facts else []
        parts += [fenced(each).rstrip() for each in message.attached]
        parts.append(message.content)
    return "\n\n".join(parts) + "\n"


def speaker(message: StoredMessage) -> str:
    """Who wrote it, for people."""
    names = {"user": "You", "system": "System"}
    return names.get(message.role) or clean_line(message.model, 60) or "Model"


def facts_of(message: StoredMessage) -> str:
    """The numbers of an answer in one line: `312 tok · 9.8 tok/s · interrupted`."""
    facts = []
    if message.completion_tokens:
        facts.append(f"{units.count(message.completion_tokens)} tok")
    if message.decode_tok_per_s is not None:
        facts.append(units.rate(message.decode_tok_per_s))
    if message.ttft_s is not None:
        facts.append(f"first token {units.duration(message.ttft_s)}")
    if message.state != "complete":
        facts.append("interrupted")
    if message.useful:
        facts.append("useful")
    return " · ".join(facts)


def exported(tree: SessionTree, form: str) -> bytes:
    """In one of `FORMS`."""
    return to_json(tree) if form == "json" else to_markdown(tree).encode()


def read(source: BinaryIO, label: str) -> SessionTree:
    """The session in a file that was exported as JSON. Raises OSError, NotASession."""
    data = source.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise NotASession(f"{label} is too large for a session", hint="The limit is 256 MB.")
    return from_json(data)


def read_file(path: Path) -> SessionTree:
    """As above. Raises UsageTrouble where it cannot be read."""
    label = clean_line(str(path), 200)
    try:
        with path.open("rb") as stream:
            return read(stream, label)
    except (OSError, ValueError) as error:  # the latter: a name with a zero byte
        why = getattr(error, "strerror", None) or str(error)
        raise UsageTrouble(f"{label} cannot be read: {why}", "Check its path.") from error


def write_new(folder: Path, tree: SessionTree, form: str) -> Path:
    """A new file named after the title, see `write`. Raises UsageTrouble."""
    stem = "-".join(re.findall(r"\w+", tree.session.title.lower()))[:60] or "session"
    names = (folder / f"{stem}{f'-{n}' if n > 1 else ''}.{form}" for n in count(1))
    path = next(path for path in names if not os.path.lexists(path))
    write(path, exported(tree, form), hint="Try again.")
    return path


def write(path: Path, data: bytes, hint: str, replace: bool = False) -> None:
    """All of `data` or nothing, for the user's eyes only.

    Raises UsageTrouble, with `hint` for a file that is there and not to be replaced.
    """
    import tempfile  # deferred: 5 ms, only this needs it

    made: list[Path] = []
    try:
        if not replace:  # the name first: what another program puts there meanwhile stays
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            made.append(path)
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        made.append(Path(part))
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        made[-1].replace(path)
    except (OSError, ValueError) as error:  # the latter: a name with a zero byte
        for each in made:
            with suppress(OSError):
                each.unlink()
        label = clean_line(str(path), 200)
        if isinstance(error, FileExistsError):
            raise UsageTrouble(f"{label} is there already", hint=hint) from error
        why = getattr(error, "strerror", None) or str(error)
        raise UsageTrouble(f"{label} cannot be written: {why}", "Check the folder.") from error


def _written(message: StoredMessage) -> _Message:
    return _Message(
        id=message.id,
        parent=message.parent_id,
        role=message.role,
        content=message.content,
        state="complete" if message.state == "complete" else "interrupted",
        model=message.model,
        finish_reason=msgspec.convert(message.finish_reason, FinishReason | Literal[""]),
        prompt_tokens=message.prompt_tokens,
        cached_tokens=message.cached_tokens,
        completion_tokens=message.completion_tokens,
        ttft_s=message.ttft_s,
        decode_tok_per_s=message.decode_tok_per_s,
        useful=message.useful,
        attached=tuple(_Attached(each.name, each.text) for each in message.attached),
        kept_from=message.kept_from,
    )


def _read(message: _Message) -> StoredMessage:
    for value in (message.ttft_s, message.decode_tok_per_s):
        if value is not None and not math.isfinite(value):
            raise ValueError("a number is not finite")
    return StoredMessage(
        id=message.id,
        session_id=0,
        role=message.role,
        content=message.content,
        state=message.state,
        model=message.model,
        completion_tokens=message.completion_tokens,
        decode_tok_per_s=message.decode_tok_per_s,
        finish_reason=message.finish_reason,
        parent_id=message.parent,
        prompt_tokens=message.prompt_tokens,
        cached_tokens=message.cached_tokens,
        ttft_s=message.ttft_s,
        useful=message.useful,
        attached=tuple(Attachment(each.name, each.text) for each in message.attached),
        kept_from=message.kept_from,
    )


def _check_tree(document: _File) -> None:
    """Every parent stands before its children, so there is no circle and no gap."""
    known: set[int] = set()
    for message in document.messages:
        if message.id in known:
            raise ValueError(f"two messages are number {message.id}")
        if message.parent is not None and message.parent not in known:
            raise ValueError(f"message {message.id} follows {message.parent}, which is not before")
        if message.kept_from is not None and message.kept_from not in known:
            raise ValueError(f"message {message.id} keeps {message.kept_from}, which is not before")
        known.add(message.id)
    if document.head is not None and document.head not in known:
        raise ValueError(f"the shown path ends with {document.head}, which is not here")
