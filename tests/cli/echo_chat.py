"""The line mode over a scripted model: `echo_chat.py SCRIPT [SESSION] < lines`.

The folders are those of ONDEVICE_HOME; a model's name is the path of another script.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ondevice.chat import Chat
from ondevice.cli.chat.interrupts import Interrupts
from ondevice.cli.chat.lines import Lines
from ondevice.cli.chat.room import Room
from ondevice.cli.chat.talk import talk
from ondevice.cli.main import main
from ondevice.cli.storage import open_storage
from ondevice.domain.generation import LoadOptions, Sampling
from ondevice.domain.model import ModelFile
from ondevice.settings import Settings


def hold(script: str, session: str | None = None) -> int:
    lines = Lines()
    database, sessions, trouble = open_storage()
    assert not trouble

    def resolve(name: str) -> ModelFile:
        return ModelFile(Path(name), "echo", Path(name).stem)

    room = Room(
        chat=Chat(sessions),
        file=resolve(script),
        lines=lines,
        interrupts=Interrupts(stay=lines.terminal),
        resolve=resolve,
        models=lambda: ["echo", "parrot"],
        price=lambda _file: None,
        load_options=LoadOptions(n_ctx=4096),
        sampling=Sampling(),
        max_tokens=100_000,
        settings=Settings(presets={"pirate": "Talk like a pirate."}),
        database=database,
        sessions=sessions,
    )
    return talk(room, int(session) if session else None)


if __name__ == "__main__":
    # through the command's own edge, so that errors and lost output end as they do there
    import ondevice.cli.main as entry

    arguments = sys.argv[1:]
    entry.ondevice.main = lambda **_how: hold(*arguments)  # type: ignore[method-assign]
    main()
