"""Line-mode chats with the echo engine: in a pipe, on a terminal, and what they leave."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
from command import PATIENCE_S, Outcome

ECHO = Path(__file__).with_name("echo_chat.py")
LONG = {"pieces": ["word "], "repeat": 2000, "delay_s": 0.01}
"""A script that is still talking when something happens to it."""


def script(folder: Path, name: str = "echo", **said: Any) -> Path:
    """A script for the echo engine; its fields are those of EchoScript."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps(said))
    return path


def stored(home: Path) -> list[tuple[str, str, str]]:
    """Role, content and state of every message that is kept."""
    connection = sqlite3.connect(home / "data" / "ondevice.db")
    rows = connection.execute("SELECT role, content, state FROM message ORDER BY id").fetchall()
    connection.close()
    return rows


class EchoChat:
    """Starts line-mode chats whose model is scripted."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.environment, self.folder = environment, folder
        self.opened: list[Any] = []

    def _command(self, session: int | None, said: dict[str, Any]) -> list[str]:
        path = script(self.folder, **said)
        return [sys.executable, str(ECHO), str(path), *([str(session)] if session else [])]

    def start(self, session: int | None = None, **said: Any) -> subprocess.Popen[bytes]:
        """A chat in pipes."""
        process = subprocess.Popen(
            self._command(session, said),
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.opened.append(process)
        return process

    def piped(self, *lines: str, session: int | None = None, **said: Any) -> Outcome:
        """What a chat does with `lines`."""
        process = self.start(session, **said)
        out, err = process.communicate("".join(f"{line}\n" for line in lines).encode(), PATIENCE_S)
        return Outcome(process.returncode, out.decode(), err.decode())

    def typed(
        self,
        env: dict[str, str] | None = None,
        session: int | None = None,
        until: str = "You: ",
        redirect: str = "",
        **said: Any,
    ) -> Any:
        """A chat on a terminal, at its prompt or as far as `until`."""
        first, *rest = self._command(session, said)
        if redirect:
            first, rest = "sh", ["-c", f'exec "$0" "$@" {redirect}', first, *rest]
        window = pexpect.spawn(
            first,
            rest,
            env=self.environment | (env or {}),
            encoding="utf-8",
            dimensions=(24, 120),
            timeout=PATIENCE_S,
        )
        self.opened.append(window)
        window.expect(until)
        return window

    def end(self) -> None:
        for each in self.opened:
            if isinstance(each, subprocess.Popen):
                each.kill()
                each.communicate()
            else:
                each.kill(signal.SIGKILL)
                each.close()


def echo_chats(environment: dict[str, str], folder: Path) -> Iterator[EchoChat]:
    """For a fixture: what was started is ended."""
    folder.mkdir(exist_ok=True)
    chats = EchoChat(environment, folder)
    yield chats
    chats.end()


def left(window: Any) -> int:
    """Read to the end; the exit code, or -n after signal n."""
    window.expect(pexpect.EOF)
    window.close()
    return window.exitstatus if window.exitstatus is not None else -window.signalstatus
