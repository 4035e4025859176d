"""Decode in the app while a model is being downloaded, against decode without.

The hub is a process on this machine, of low priority as it stands for another one. The line is
limited to what the settings say; both cores decode.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from pathlib import Path

from app import QUESTION, Screen, finished
from common import ONDEVICE, conditions, pair_count, pairs, report
from download import serving

from ondevice.domain.download import RemoteFile

BAR = 0.85
LINES = {"100 Mbit/s": 12_500_000, "300 Mbit/s": 37_500_000}
"""Bytes a second; at either, the file takes longer than an answer."""
KEY_F2, ESCAPE = b"\x1bOQ", b"\x1b"
ENTRY = """
[[model]]
name = 'fetched'
family = 'random'
title = 'Random bytes'
use = 'chat'
parameters = 1_000_000_000
context = 4096
licence = 'none'

[[model.files]]
engine = 'llama.cpp'
quantization = 'Q4_0'
repository = '{repository}'
revision = '{commit}'
path = '{path}'
size_bytes = {size_bytes}
sha256 = '{content_hash}'
"""


def prepare(home: Path, file: RemoteFile, limit: int) -> None:
    """A home whose catalogue has `file`, and whose downloads are limited."""
    (home / "config").mkdir(parents=True, exist_ok=True)
    entry = ENTRY.format(
        repository=file.repository,
        commit=file.commit,
        path=file.path,
        size_bytes=file.size_bytes,
        content_hash=file.content_hash,
    )
    (home / "config" / "models.toml").write_text(entry)
    (home / "config" / "settings.toml").write_text(f"download_bytes_per_s = {limit}\n")


def answer(home: Path, download: bool) -> float:
    """Decode tok/s of one answer; a download goes on from before it until after it."""
    screen = Screen(ONDEVICE, (120, 40))
    try:
        if download:
            begin_download(screen)
        screen.write(QUESTION.encode() + b"\r")
        with contextlib.closing(sqlite3.connect(home / "data" / "ondevice.db")) as database:
            while (row := finished(database)) is None:
                screen.take(0.2)
        if download:
            screen.new = b""
            screen.until("% ")  # it is still going on
        return row[0]
    finally:
        screen.end()
        (home / "data" / "ondevice.db").unlink()
        for part in (home / "hf").rglob("*.part"):
            part.unlink()


def begin_download(screen: Screen) -> None:
    screen.write(KEY_F2)
    screen.until("here first")
    for keys, shown in ((b"/", ""), (b"fetched", "1 of "), (b"\r", ""), (b"\r", "disk has")):
        screen.write(keys)
        screen.until(shown)
        screen.settle()
    screen.write(b"y")
    screen.until("MB/s")
    screen.write(ESCAPE)  # lifts the filter
    screen.settle()
    screen.write(ESCAPE)
    screen.until("sk anything")  # the cursor is on its first letter


def main() -> None:
    """One row for each line."""
    conditions()
    with tempfile.TemporaryDirectory() as name, serving(Path(name)) as (address, file):
        home = Path(name) / "home"
        os.environ |= {"HF_ENDPOINT": address, "NO_PROXY": "127.0.0.1"}
        os.environ |= {"ONDEVICE_HOME": str(home), "HF_HOME": str(home / "hf")}
        for label, limit in LINES.items():
            prepare(home, file, limit)
            found = pairs(lambda: answer(home, True), lambda: answer(home, False), pair_count(8))
            report(f"decode beside a download, {label}", found, BAR, "tok/s")


if __name__ == "__main__":
    main()
