"""Take the pictures of docs/: the real app with the starter model, at both sizes, as PNG.

    pip install resvg-py pillow         # and the font DejaVu Sans Mono
    python scripts/pictures.py

The download in them comes from a hub on this machine, under the catalogue's own name and size.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import resvg_py
from PIL import Image
from textual.pilot import Pilot

from ondevice import catalog
from ondevice.cli import app as cli_app
from ondevice.domain.model import ModelSpec
from ondevice.tui.app import OnDeviceApp
from ondevice.tui.screens.chat import ChatScreen
from ondevice.tui.screens.models import ModelsScreen
from ondevice.tui.widgets.bubble import Bubble
from ondevice.tui.widgets.composer import Composer
from ondevice.tui.widgets.topbar import TopBar

ROOT = Path(__file__).resolve().parent.parent
SIZES = ((80, 24), (120, 40))
MODEL, COMMIT = "phi-3-mini-4k-instruct", "c" * 40
FIRST_QUESTION = "Explain in two sentences what a KV cache is."
QUESTION = "Explain how rivers shape a valley, with headings and a list."
LINE_BYTES_PER_S = 12_500_000
ENTRY = """
[[model]]
name = '{name}'
family = '{family}'
title = '{title}'
use = 'chat'
parameters = {parameters}
context = {context}
licence = '{licence}'
shape = {{ n_layers = 32, n_embd = 3072, vocab = 32064, n_heads = 32, n_kv_heads = 32, \
head_dim = 96, n_ff = 8192, fused_qkv = true, merges = 0 }}
quality = [ {{ benchmark = 'MMLU', score = 69, measured_by = 'Microsoft', how = 'Phi-3 report' }} ]

[[model.files]]
engine = 'llama.cpp'
quantization = '{quantization}'
repository = '{repository}'
path = '{path}'
revision = '{commit}'
size_bytes = {size_bytes}
sha256 = '{sha256}'
"""


@contextlib.contextmanager
def serving(folder: Path, spec: ModelSpec) -> Iterator[str]:
    """A hub with a file of the size of the model's; its address. The catalogue pins that file."""
    file, content = spec.files[0], folder / "content"
    with content.open("wb") as out:
        out.truncate(file.size_bytes)
    server = ROOT / "tests" / "hub" / "serving.py"
    with subprocess.Popen(
        [sys.executable, str(server), str(content)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        address, digest = process.stdout.readline().split()
        facts = {name: getattr(spec, name) for name in ("name", "family", "title", "parameters")}
        facts |= {"context": spec.context, "licence": spec.licence, "sha256": digest}
        facts |= {name: getattr(file, name) for name in ("quantization", "repository", "path")}
        config = folder / "config"
        config.mkdir()
        entry = ENTRY.format(**facts, commit=COMMIT, size_bytes=file.size_bytes)
        (config / "models.toml").write_text(entry)
        (config / "settings.toml").write_text(f"download_bytes_per_s = {LINE_BYTES_PER_S}\n")
        yield address
        process.stdin.close()


def real_app() -> OnDeviceApp:
    """The app as the command opens it, not yet run."""
    made: list[OnDeviceApp] = []
    with (
        patch.object(cli_app, "run_app", lambda app, *_: made.append(app)),
        patch.object(os, "isatty", lambda _: True),
        patch.multiple(sys, stdin=_Terminal(), stdout=_Terminal(), stderr=_Terminal()),
    ):
        cli_app.open_app(None)
    return made[0]


class _Terminal:
    def isatty(self) -> bool:
        return True


async def until(pilot: Pilot[int], happened: Callable[[], object]) -> None:
    last = time.monotonic() + 120
    while not happened():
        if time.monotonic() > last:
            sys.exit("the app did not come so far")
        await pilot.pause(0.05)


async def ask(pilot: Pilot[int], chat: ChatScreen, question: str) -> None:
    chat.query_one(Composer).insert(question)
    await pilot.press("enter")
    await until(pilot, lambda: chat.busy)


async def take(size: tuple[int, int]) -> None:
    """An answer, the models, and a download while another answer comes."""
    app, name = real_app(), f"{size[0]}x{size[1]}"
    async with app.run_test(size=size) as pilot:
        chat = app.chat_screen
        await until(pilot, lambda: "offline" in chat.query_one(TopBar).running)
        await ask(pilot, chat, FIRST_QUESTION)
        await until(pilot, lambda: not chat.busy)
        await pilot.pause(1)
        draw(app, f"chat-{name}")
        await pilot.press("f8")
        await until(pilot, lambda: not chat.query(Bubble))
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, ModelsScreen) and app.screen._plans)
        screen = app.screen
        assert isinstance(screen, ModelsScreen)
        table = screen.query_one("#table")
        key = next(key for key, plan in screen._plans.items() if plan.spec.name == MODEL)
        table.move_cursor(row=table.get_row_index(key))  # type: ignore[attr-defined]
        await pilot.pause(0.3)
        await pilot.press("enter")
        await pilot.pause(0.3)
        await pilot.press("y")
        await until(pilot, lambda: app.downloads.running and "MB/s" in app.downloads.running.words)
        await pilot.pause(4)
        draw(app, f"models-{name}")
        await pilot.press("escape")
        await ask(pilot, chat, QUESTION)
        await pilot.pause(5)
        draw(app, f"download-{name}")
        app.downloads.close()
        app._chat.close()


def draw(app: OnDeviceApp, name: str) -> None:
    """The screen as docs/NAME.png."""
    drawn = app.export_screenshot(title="ondevice")
    drawn = re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.S)
    drawn = drawn.replace("Fira Code", "DejaVu Sans Mono")
    png = resvg_py.svg_to_bytes(svg_string=drawn)
    few = Image.open(io.BytesIO(bytes(png))).convert("RGB").quantize(64)
    few.save(ROOT / "docs" / f"{name}.png", optimize=True)


def main() -> None:
    spec = catalog.load().find(MODEL)
    for size in SIZES:
        with tempfile.TemporaryDirectory() as name, serving(Path(name), spec) as address:
            os.environ |= {"HF_ENDPOINT": address, "NO_PROXY": "127.0.0.1"}
            os.environ |= {"ONDEVICE_HOME": name, "HF_HOME": str(Path(name) / "hf")}
            asyncio.run(take(size))


if __name__ == "__main__":
    main()
