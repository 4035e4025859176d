"""The line mode over a scripted model: `echo_chat.py SCRIPT [SESSION] < lines`.

The folders are those of ONDEVICE_HOME; a model's name is the path of another script.
"""

from __future__ import annotations

from pathlib import Path

import click

from ondevice.chat import Chat
from ondevice.cli import main
from ondevice.cli.chat.desk import Desk
from ondevice.cli.chat.interrupts import Interrupts
from ondevice.cli.chat.lines import Lines
from ondevice.cli.chat.talk import talk
from ondevice.cli.storage import open_storage
from ondevice.domain.generation import LoadOptions, Sampling
from ondevice.domain.model import ModelFile
from ondevice.settings import Settings


def hold(script: str, session: int | None) -> int:
    lines = Lines()
    database, sessions, trouble = open_storage()
    assert not trouble

    def resolve(name: str) -> ModelFile:
        return ModelFile(Path(name), "echo", Path(name).stem)

    desk = Desk(
        chat=Chat(sessions),
        file=resolve(script),
        lines=lines,
        interrupts=Interrupts(stay=lines.terminal),
        resolve=resolve,
        models=lambda: ["echo", "parrot"],
        price=lambda *_: None,
        load_options=LoadOptions(n_ctx=4096),
        sampling=Sampling(),
        max_tokens=100_000,
        settings=Settings(presets={"pirate": "Talk like a pirate."}),
        database=database,
        sessions=sessions,
    )
    return talk(desk, session)


@click.command()
@click.argument("script")
@click.argument("session", type=int, required=False)
def echo_chat(script: str, session: int | None) -> None:
    click.get_current_context().exit(hold(script, session))


if __name__ == "__main__":
    main.ondevice = echo_chat  # so that colours, errors and lost output are the command's own
    main.main()
