"""A download of the app ends with the app, also while it only waits: the real command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import filelock
import psutil
import pytest
from command import PATIENCE_S, StartCli, assert_ended

from ondevice.cli.exits import Exit
from ondevice.domain.download import RemoteFile
from ondevice.hub.cache import HubCache

FILE = RemoteFile("someone/small-GGUF", "small.Q4_0.gguf", "c" * 40, 3_000_000, "a" * 64)
ENTRY = f"""
[[model]]
name = 'small-model'
family = 'mine'
title = 'Small Model'
use = 'chat'
parameters = 1_000_000
context = 512
licence = 'MIT'
shape = {{ n_layers = 2, n_embd = 64, vocab = 500, n_heads = 2, n_kv_heads = 2, n_ff = 128 }}

[[model.files]]
engine = 'llama.cpp'
quantization = 'Q4_0'
repository = '{FILE.repository}'
path = '{FILE.path}'
revision = '{FILE.commit}'
size_bytes = {FILE.size_bytes}
sha256 = '{FILE.content_hash}'
"""
QUEUE = f"""
import sys, threading
from ondevice.cli.app import fetching
from ondevice.tui.downloads import Downloads, Form
form = Form("small-model", "llama.cpp", "Q4_0", "{FILE.path}")
queue = Downloads(fetching, print)
queue.add(form)
while not (row := queue.get(form)) or not row.said:
    threading.Event().wait(0.01)
print(row.said, flush=True)
sys.stdin.read()
"""
"""All that the app is to its downloads."""


@pytest.fixture
def fetched_by_another(
    environment: dict[str, str], home: Path, tmp_path: Path
) -> Iterator[dict[str, str]]:
    """A machine on which another process fetches the model, and never gets on."""
    (home / "config").mkdir(parents=True)
    (home / "config" / "models.toml").write_text(ENTRY)
    store = HubCache(tmp_path / "hf" / "hub")
    store.make_folders(FILE)
    with filelock.FileLock(store.lock(FILE)):
        yield environment


def test_of_an_app_that_was_killed_ends(fetched_by_another: dict[str, str]) -> None:
    app = subprocess.Popen(
        [sys.executable, "-c", QUEUE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=fetched_by_another,
    )
    assert app.stdout is not None
    assert b"another process fetches" in app.stdout.readline()
    (pull,) = psutil.Process(app.pid).children()
    app.kill()
    app.communicate()
    assert_ended(pull)


def test_ends_with_the_pipe_that_is_its_stdin(
    fetched_by_another: dict[str, str], start_cli: StartCli
) -> None:
    """What there is where the kernel ends no child with its parent."""
    parent = str(os.getpid())
    pull = start_cli("pull", "small-model", "--events", "--parent", parent, stdin=subprocess.PIPE)
    assert pull.stdin is not None
    assert pull.stdout is not None
    assert json.loads(pull.stdout.readline())["code"] == "waiting"
    pull.stdin.close()
    pull.stdin = None  # else the fixture would flush it
    assert pull.wait(PATIENCE_S) == Exit.TERMINATED
