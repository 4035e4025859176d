"""What a line that begins with / does: the table, and who finds in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import click

from ondevice import pricing
from ondevice.cli.answering import say
from ondevice.cli.chat import messages, model, sessions
from ondevice.cli.chat.desk import Desk
from ondevice.errors import StorageTrouble, UsageTrouble

_COMMAND = re.compile(r"/([a-z]+)(?:\s+(.*))?", re.IGNORECASE | re.DOTALL)
"""A path or a fraction is none, and neither is what begins with a space."""


class Command(NamedTuple):
    """One of the table."""

    takes: str
    about: str
    do: Callable[[Desk, str], None]
    words: Callable[[Desk], list[str]] | None = None
    """What Tab offers behind it."""


def _help(_desk: Desk, _rest: str) -> None:
    for name, each in COMMANDS.items():
        click.echo(f"/{name} {each.takes}".rstrip() + f": {each.about}", err=True)
    say('A line that ends in \\ goes on in the next one; so does what stands between two """.')
    say("A space first makes a question of what would be a command. Tab completes.")


def _room(desk: Desk, rest: str) -> None:
    from ondevice.cli.chat.room import make_room  # deferred: it judges memory, which takes 25 ms

    make_room(desk, rest)


def _stop(_desk: Desk, _rest: str) -> None:
    say("Nothing is being answered. Ctrl-C stops an answer; at the prompt, twice, it leaves.")


def _quit(desk: Desk, _rest: str) -> None:
    desk.leaving = True


def _session_ids(desk: Desk) -> list[str]:
    try:
        return [str(each.id) for each in desk.kept.recent()]
    except StorageTrouble:
        return []


COMMANDS = {
    "help": Command("", "list what a line can do", _help),
    "new": Command("", "begin a new conversation; this one is kept", sessions.new),
    "private": Command("", "begin one that is never stored", sessions.private),
    "sessions": Command("[TEXT]", "list conversations, or find those with TEXT", sessions.sessions),
    "open": Command("ID", "go on with a conversation", sessions.open_session, _session_ids),
    "rename": Command("TITLE", "give this one another title", sessions.rename),
    "delete": Command(
        "[ID|all] [yes]", "delete this one, another or all, for good", sessions.delete,
        lambda desk: ["all", *_session_ids(desk)],
    ),
    "find": Command("TEXT", "list the messages of this one with TEXT in them", messages.find),
    "branch": Command("[N]", "go on after message N; alone, list the messages", messages.branch),
    "branches": Command("", "list where the paths of this conversation end", messages.branches),
    "edit": Command("[N] TEXT", "ask TEXT in the place of question N, or the last", messages.edit),
    "again": Command("", "make another answer; the first one stays", messages.again),
    "useful": Command(
        "[on|off]", "mark the last answer for the accounts", messages.useful,
        lambda _desk: ["on", "off"],
    ),
    "system": Command(
        "[TEXT|PRESET]", "show or set what the model is told", model.system,
        lambda desk: ["none", *desk.settings.presets],
    ),
    "model": Command(
        "[NAME]", "show the model, take another, or load it again", model.model,
        lambda desk: desk.models(),
    ),
    "context": Command("", "say what the context holds, by part", model.context),
    "room": Command(
        "[drop|summarise|raise]", "say what would make room in it, or do that", _room,
        lambda _desk: ["drop", "summarise", "raise", "use"],
    ),
    "schema": Command(
        "[FILE|none]", "have answers keep to a JSON schema, or no longer", model.schema,
        lambda _desk: ["none"],
    ),
    "baseline": Command(
        "[NAME]", "show what costs are compared with, or take another", model.baseline,
        lambda _desk: [each.key for each in pricing.BASELINES],
    ),
    "costs": Command("", "say what was used and avoided", model.costs),
    "export": Command(
        "[FILE]", "write it as Markdown, or as JSON to a .json FILE", sessions.export
    ),
    "import": Command("FILE", "take in a conversation from a .json FILE", sessions.take_in),
    "copy": Command("", "copy the last answer; in a pipe, print it", messages.copy),
    "stop": Command("", "stop the answer and keep its half, as Ctrl-C does", _stop),
    "quit": Command("", "leave; everything is stored", _quit),
}  # fmt: skip


def run(desk: Desk, line: str) -> bool:
    """Do what `line` says, if it is a command. Raises UsageTrouble for an unknown one."""
    found = _COMMAND.fullmatch(line)
    if found is None:
        return False
    name = found[1].lower()
    if name not in COMMANDS:
        near = _nearest(name)
        hint = f"Did you mean /{near}?" if near else "/help lists them."
        raise UsageTrouble(
            f"there is no /{name}", hint=f"{hint} A space first makes it a question."
        )
    COMMANDS[name].do(desk, (found[2] or "").strip())
    return True


def complete(desk: Desk, before: str, word: str) -> list[str]:
    """What `word` may become behind `before`."""
    if not before.strip():
        return [f"/{name} " for name in COMMANDS if word and f"/{name}".startswith(word)]
    command = COMMANDS.get(before.strip().removeprefix("/"))
    offered = command.words(desk) if command and command.words else []
    return [each for each in offered if each.startswith(word)]


def _nearest(name: str) -> str:
    from difflib import get_close_matches  # deferred: only a mistyped name needs it

    begun = [each for each in COMMANDS if each.startswith(name[:20])]
    return next(iter([*begun, *get_close_matches(name[:20], COMMANDS, n=1)]), "")
