"""A pull as a process of its own, started and heard."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from serving import FileHub

from ondevice.hub.cache import HubCache

MOST_AGAIN_BYTES = 8_000_000
"""Fetched again for a kill: what was not flushed, and what lay in the sockets."""

PULLER = Path(__file__).with_name("puller.py")
LONGEST_S = 100


def start(hub: FileHub, store: HubCache, before: str = "", **env: str) -> subprocess.Popen[str]:
    """A pull of the hub's file, as known; `before` is shell that runs first in the same process."""
    file = hub.file
    command = [sys.executable, str(PULLER), str(store.root), file.repository, file.path]
    command += [file.commit, file.content_hash, str(file.size_bytes)]
    if before:
        command = ["/bin/sh", "-c", f'{before}; exec "$@"', "sh", *command]
    return _run(hub, command, env)


def ask_and_start(hub: FileHub, store: HubCache, **env: str) -> subprocess.Popen[str]:
    """A pull of whatever the hub says the file is."""
    command = [sys.executable, str(PULLER), str(store.root), hub.file.repository, hub.file.path]
    return _run(hub, [*command, "main"], env)


def _run(hub: FileHub, command: list[str], env: dict[str, str]) -> subprocess.Popen[str]:
    usual = {"HF_ENDPOINT": hub.address, "NO_PROXY": "127.0.0.1"}
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | usual | env,
    )


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The last word of a pull that succeeds."""
    return told_by(process)[-1]


def told_by(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """All that a pull says that succeeds."""
    out, err = process.communicate(timeout=LONGEST_S)
    assert (process.returncode, err) == (0, "")
    return [json.loads(line) for line in out.splitlines()]


def fail(process: subprocess.Popen[str]) -> str:
    """The one line on stderr of a pull that does not."""
    _, err = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 1, err
    (line,) = err.splitlines()
    return line


def strays(hub: FileHub, store: HubCache) -> list[Path]:
    """Files that are neither the model's nor its lock."""
    file = hub.file
    due = {store.blob(file), store.snapshot(file), store.lock(file)}
    return [path for path in store.root.rglob("*") if not path.is_dir() and path not in due]
