"""Commands about conversations: begin, list, open, name, write out."""

from __future__ import annotations

import sys

from ondevice.chat import transfer
from ondevice.cli.answering import say
from ondevice.cli.chat.room import LISTED, Room, tell
from ondevice.cli.sessions.export import shown, write_private
from ondevice.domain.text import clean_line
from ondevice.errors import UsageTrouble
from ondevice.hub.local import expand


def new(room: Room, _rest: str) -> None:
    room.begin()
    say("A new private conversation." if room.private else "A new conversation.")


def private(room: Room, _rest: str) -> None:
    room.begin(private=True)
    say("A private conversation: nothing of it is stored. /new begins one that is kept.")


def sessions(room: Room, text: str) -> None:
    listed = _found(room, text) if text else _recent(room)
    for line in listed:
        tell(line, 300)
    say("/open and a number goes on with one." if listed else "Nothing was found.")


def _recent(room: Room) -> list[str]:
    return [f"{each.id}: {each.title}" for each in room.kept.recent(LISTED)]


def _found(room: Room, text: str) -> list[str]:
    found = room.kept.search(text, LISTED)
    excerpts = [f" · {each.excerpt}" if each.message else "" for each in found]
    return [
        f"{each.session.id}: {each.session.title}{excerpt}"
        for each, excerpt in zip(found, excerpts, strict=True)
    ]


def open_session(room: Room, number: str) -> None:
    if not number.isdecimal():
        raise UsageTrouble("say which conversation: /open 3", hint="/sessions lists them.")
    room.open(int(number))


def rename(room: Room, title: str) -> None:
    session = room.chat.conversation.session
    if not clean_line(title):
        raise UsageTrouble("the title is empty", hint="Such as: /rename Rain in Lisbon")
    if session is None:
        raise UsageTrouble(
            "this conversation is not stored", hint="Its title comes with a question."
        )
    room.chat.conversation.session = room.kept.rename(session.id, title)
    say(f"Renamed: {room.chat.conversation.session.title}")


def export(room: Room, name: str) -> None:
    tree = room.chat.conversation.tree
    form = "json" if name.lower().endswith(".json") else "md"
    data = transfer.to_json(tree) if form == "json" else transfer.to_markdown(tree).encode()
    if name:
        write_private(expand(name), data, replace=False, hint="Give another name.")
        say(f"Written: {name}", limit=400)
    else:
        sys.stdout.buffer.write(shown(data, form) if sys.stdout.isatty() else data)
        sys.stdout.flush()
