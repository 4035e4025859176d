"""The app over a scripted model, on the terminal it is started from: `echo_app.py FOLDER`.

FOLDER/stage.json holds the arguments of `Stage`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from hostile import HostileChat
from stage import Stage

from ondevice.chat import Chat
from ondevice.cli.app import run_app


def main(folder: Path) -> int:
    arguments = json.loads((folder / "stage.json").read_text())
    make_chat = HostileChat if arguments.pop("hostile", False) else Chat
    stage = Stage(folder, make_chat=make_chat, **arguments)
    return run_app(stage.app, stage.chat, stage.database)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
