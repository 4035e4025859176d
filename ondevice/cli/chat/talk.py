"""Put the rooms together, then read lines and do what they say until the chat is left."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import cache, partial

from ondevice import catalog
from ondevice.chat import Chat
from ondevice.cli import answering
from ondevice.cli.answering import Options, say
from ondevice.cli.chat import commands
from ondevice.cli.chat.desk import Desk
from ondevice.cli.chat.interrupts import Interrupts, Left
from ondevice.cli.chat.lines import Lines
from ondevice.cli.chat.turn import answer, failed
from ondevice.cli.exits import Exit, exit_for
from ondevice.cli.options import KEPT, settings_for
from ondevice.cli.storage import hash_of, most_state_bytes, open_storage
from ondevice.errors import OnDeviceError, UsageTrouble
from ondevice.hub import local
from ondevice.paths import user_paths
from ondevice.settings import Settings

USED = (*answering.USED, *KEPT)


def hold(session: int | None, private: bool, options: Options) -> int:
    """Hold a conversation until it is left; returns the exit code."""
    if private and session is not None:
        raise UsageTrouble("a kept conversation is not private", hint="Leave out one of the two.")
    desk = _furnish(options, settings_for(*USED))
    schema = answering.schema(options["schema"])
    if not private:
        desk.database, desk.sessions, trouble = open_storage()
        if trouble:
            say(trouble, limit=500)
    desk.chat = Chat(
        desk.sessions,
        model_hash=desk.model_hash,
        most_bytes=lambda: most_state_bytes(user_paths()),
    )
    desk.chat.use(desk.settings)
    desk.chat.schema = schema
    return talk(desk, session, None if options["system"] is None else desk.system)


def _furnish(options: Options, chosen: Settings) -> Desk:
    """As the options say, and the settings where they do not; nothing is opened yet."""
    paths = user_paths()

    @cache  # when it is first asked for, and once
    def known() -> catalog.Catalog:
        return catalog.load(paths.user_catalogue)

    lines = Lines()
    return Desk(
        chat=Chat(None),
        file=local.resolve(options["model"] or chosen.model, known()),
        lines=lines,
        interrupts=Interrupts(stay=lines.terminal),
        model_hash=lambda file, read: hash_of(file, read, known(), paths),
        resolve=lambda name: local.resolve(name, known()),
        models=lambda: [
            each.name for each in known().models if each.use != "embed" and local.find(each)
        ],
        price=answering.price,
        load_options=answering.load_options(options, chosen),
        sampling=answering.sampling(options, chosen),
        max_tokens=options["max_tokens"] or chosen.max_tokens,
        settings=chosen,
        baseline=options["baseline"] or chosen.baseline,
        system=answering.system_prompt(options, chosen),
    )


def talk(desk: Desk, session: int | None = None, system: str | None = None) -> int:
    """Open the conversation, load the model, then do what lines say; returns the exit code.

    `system` is what an opened conversation is told from now on. Whatever ends this, what the model
    has read is saved, and the engine and the database are closed.
    """
    desk.interrupts.listen()
    try:
        desk.begin()
        if session is not None:
            desk.open(session)
            if system is not None:
                desk.chat.conversation.set_system_prompt(system)
        desk.load()
        desk.lines.edit(partial(commands.complete, desk))
        if desk.lines.terminal:
            say("Write a question, or /help. Ctrl-C stops an answer; /quit leaves.")
        code = _until_left(desk)
        _say_where(desk)
        return code
    except (KeyboardInterrupt, OnDeviceError, OSError) as error:
        if desk.interrupts.code:
            return _lost(desk.interrupts.code)
        if isinstance(error, KeyboardInterrupt):
            return Exit.CANCELLED
        raise
    finally:
        with desk.interrupts.stopping(_nothing):  # closing is not to be interrupted
            desk.chat.leave()
            if desk.database is not None:
                desk.database.close()


def _until_left(desk: Desk) -> int:
    """The code of the first failure in a pipe; in a terminal whoever typed has seen it."""
    code, leaves = 0, False
    while not desk.leaving:
        try:
            line = desk.lines.read()
            if line is None:
                break
            leaves = desk.interrupts.stopped = False
            if not commands.run(desk, line):
                answer(desk, partial(desk.chat.send, line.strip()))
            leaves = desk.interrupts.stopped
        except KeyboardInterrupt as interrupt:
            if isinstance(interrupt, Left) or (leaves and not desk.lines.begun):
                raise
            leaves = True
            say("Ctrl-C again leaves, and so does /quit.")
        except OnDeviceError as error:
            failed(error)
            code = code or exit_for(error)
        desk.interrupts.leave_if_asked()
    return 0 if desk.lines.terminal else code


def _nothing() -> None:
    """It ends by itself."""


def _say_where(desk: Desk) -> None:
    session = desk.chat.conversation.session
    if session is not None:
        say(f"Kept as session {session.id}. To go on: ondevice chat --session {session.id}")


def _lost(code: int) -> int:
    """A terminal that is gone takes no more, and the interpreter would say so at its end."""
    with suppress(OSError):
        try:
            sys.stdout.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code
