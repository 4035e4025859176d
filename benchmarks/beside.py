"""Decode in the app while a model is being downloaded, against decode without.

The hub is a process on this machine, of low priority as it stands for another one. The line is
limited to what the settings say; both cores decode. The file is so large that at either rate it
takes longer than an answer, whose length the settings limit, too; an arm in which the download
ended first would say so.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from app import Screen, answered
from common import ONDEVICE, conditions, pair_count, pairs, report
from download import serving_file

from ondevice.domain.download import RemoteFile

BAR = 0.85
LINES = {"100 Mbit/s": 12_500_000, "300 Mbit/s": 37_500_000}
"""Bytes a second."""
LASTS_S = 75
"""The file, on the quicker line."""
ANSWER_TOKENS = 400
"""The longest answer: within that time at 6 tok/s and more."""
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
    chosen = f"download_bytes_per_s = {limit}\nmax_tokens = {ANSWER_TOKENS}\n"
    (home / "config" / "settings.toml").write_text(chosen)


def answer(home: Path, download: bool) -> float:
    """Decode tok/s of one answer; a download goes on from before it until after it."""
    screen = Screen(ONDEVICE, (120, 40))
    try:
        if download:
            begin_download(screen)
        rate, _ = answered(screen, home)
        if download:
            screen.new = b""
            screen.until("% ")  # it is still going on
        print(f"{rate:.1f} tok/s {'beside a download' if download else 'alone'}", file=sys.stderr)
        return rate
    finally:
        screen.end()
        (home / "data" / "ondevice.db").unlink()
        for part in (home / "hf").rglob("*.part"):
            part.unlink()


def begin_download(screen: Screen) -> None:
    screen.write(KEY_F2)
    screen.until("here first")
    for keys, shown in ((b"/", ""), (b"fetched", "1 of "), (b"\r", "disk has")):
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
    with tempfile.TemporaryDirectory() as name:
        content = Path(name) / "content"
        with content.open("wb") as out:  # of zeros that take no room: nobody reads them
            out.truncate(LASTS_S * max(LINES.values()))
        with serving_file(content, low_priority=True) as (address, file):
            measure(Path(name) / "home", address, file)


def measure(home: Path, address: str, file: RemoteFile) -> None:
    """Pairs of answers, with a download and without."""
    os.environ |= {"HF_ENDPOINT": address, "NO_PROXY": "127.0.0.1"}
    os.environ |= {"ONDEVICE_HOME": str(home), "HF_HOME": str(home / "hf")}
    for label, limit in LINES.items():
        prepare(home, file, limit)
        found = pairs(lambda: answer(home, True), lambda: answer(home, False), pair_count(8))
        report(f"decode beside a download, {label}", found, BAR, "tok/s")


if __name__ == "__main__":
    main()
