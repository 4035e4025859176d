"""Commands about conversations: begin, list, open, name, write out, take in, delete."""

from __future__ import annotations

from ondevice.chat import transfer
from ondevice.cli.answering import say
from ondevice.cli.chat.desk import LISTED, Desk, tell
from ondevice.cli.confirm import UNASKED, somebody_answers
from ondevice.cli.options import number_of
from ondevice.cli.sessions.delete import count, farewell, take
from ondevice.cli.storage import print_session
from ondevice.domain.text import clean_line
from ondevice.errors import UsageTrouble
from ondevice.hub.local import expand


def new(desk: Desk, _rest: str) -> None:
    """Begin a new conversation."""
    desk.begin()
    say("A new private conversation." if desk.private else "A new conversation.")


def private(desk: Desk, _rest: str) -> None:
    """Begin one that is never stored."""
    desk.begin(private=True)
    say("A private conversation: nothing of it is stored. /new begins one that is kept.")


def sessions(desk: Desk, text: str) -> None:
    """List the conversations used last, or those with `text` in them."""
    listed = _found(desk, text) if text else _recent(desk)
    for line in listed:
        tell(line, 300)
    say("/open and a number goes on with one." if listed else "Nothing was found.")
    if len(listed) == LISTED:
        say("There may be more: /sessions and some words finds them.")


def _recent(desk: Desk) -> list[str]:
    return [f"{each.id}: {each.title}" for each in desk.kept.recent(LISTED)]


def _found(desk: Desk, text: str) -> list[str]:
    found = desk.kept.search(text, LISTED)
    excerpts = [f" · {each.excerpt}" if each.message else "" for each in found]
    return [
        f"{each.session.id}: {each.session.title}{excerpt}"
        for each, excerpt in zip(found, excerpts, strict=True)
    ]


def open_session(desk: Desk, rest: str) -> None:
    """Go on with another one."""
    number = number_of(rest)
    if number is None:
        raise UsageTrouble("say which conversation: /open 3", hint="/sessions lists them.")
    desk.open(number)


def rename(desk: Desk, title: str) -> None:
    """Give this one another title."""
    session = desk.chat.conversation.session
    if not clean_line(title):
        raise UsageTrouble("the title is empty", hint="Such as: /rename Rain in Lisbon")
    if session is None:
        raise UsageTrouble(
            "this conversation is not stored", hint="Its title comes with a question."
        )
    desk.chat.conversation.session = desk.kept.rename(session.id, title)
    say(f"Renamed: {desk.chat.conversation.session.title}")


def export(desk: Desk, name: str) -> None:
    """Write it to the file that is named, or to stdout."""
    tree = desk.chat.conversation.tree
    form = "json" if name.lower().endswith(".json") else "md"
    if name:
        transfer.write(expand(name), transfer.exported(tree, form), hint="Give another name.")
        say(f"Written: {name}", limit=400)
    else:
        print_session(tree, form)


def take_in(desk: Desk, name: str) -> None:
    """Take in one that was exported as JSON; the open one stays."""
    if not name:
        raise UsageTrouble("say which file: /import it.json", hint="/export it.json writes one.")
    session = desk.kept.restore(transfer.read_file(expand(name)))
    say(f"Session {session.id}: {session.title}")
    say(f"/open {session.id} goes on with it.")


def delete(desk: Desk, rest: str) -> None:
    """Delete this one, another or all, once somebody said yes."""
    words = rest.split()
    agreed = words[-1:] == ["yes"]
    which = " ".join(words[:-1] if agreed else words)
    store, numbers = desk.kept, _numbers(desk, which)
    assert desk.database is not None  # it is what keeps them
    due, question = farewell(desk.database, store, numbers)
    if not question:
        say("There is nothing to delete.")
        return
    if not (agreed or _agree(desk, question, which)):
        say("Nothing was deleted.")
        return
    session = desk.chat.conversation.session
    if session is not None and session.id in [each.id for each in due]:
        desk.begin()  # first: whatever comes now must not go on in it
        say("A new conversation.")
    take(store, due, everything=not numbers)
    say(f"Deleted: {count(len(due))}.")


def _numbers(desk: Desk, which: str) -> list[int]:
    """Of those that are meant; none are all."""
    if which == "all":
        return []
    session = desk.chat.conversation.session
    own = session.id if session else None
    number = number_of(which) if which else own
    if number is not None:
        return [number]
    if which:
        raise UsageTrouble("say which: /delete 3, or /delete all", hint="/sessions lists them.")
    raise UsageTrouble("this conversation is not stored", hint="/sessions lists those that are.")


def _agree(desk: Desk, question: str, which: str) -> bool:
    if not somebody_answers():
        raise UsageTrouble(UNASKED, hint=f"Add yes: /delete {which} yes")
    return desk.lines.reply(f"{question} Write yes or no: ").strip().lower() == "yes"
