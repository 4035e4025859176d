"""Broken and hostile versions of a small ONNX folder, each with a name that says what was done."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Mutation = Callable[[Path], None]
VALUES: list[Any] = [
    None, True, -1, 0, 1, 7, 2**31 - 1, 2**31, 2**63, 1e308, "", "x", "../x", "/etc/passwd",
    "x" * 10_000, "\x1b]0;\x07", [], {}, [1], {"a": 1}, [[]] * 50,
]  # fmt: skip
TEXTS = ("genai_config.json", "tokenizer.json", "tokenizer_config.json")
BINARIES = ("model.onnx", "model.onnx.data")
TARGETS = ("/dev/zero", "/dev/full", "/etc/passwd", "..", "gone", "model.onnx", "x" * 300)


def mutations(folder: Path, seed: int) -> Iterator[tuple[str, Mutation]]:
    """Endless: what to do to a copy of `folder`."""
    draw = random.Random(seed)
    kinds = [_of_json, _of_json, _of_json, _of_bytes, _of_bytes, _of_file, _of_templates]
    while True:
        yield draw.choice(kinds)(folder, draw)


def _of_json(folder: Path, draw: random.Random) -> tuple[str, Mutation]:
    """One value of a document becomes another, or its key goes, or one comes."""
    name = draw.choice(TEXTS)
    places = list(_places(json.loads((folder / name).read_text(encoding="utf-8")), ()))
    place, value = draw.choice(places), draw.choice(VALUES)
    what = draw.choice(["is", "is", "goes", "comes"])

    def apply(copy: Path) -> None:
        path = copy / name
        document = json.loads(path.read_text(encoding="utf-8"))
        section = document
        for key in place[:-1]:
            section = section[key]
        if what == "is":
            section[place[-1]] = value
        elif what == "goes":
            del section[place[-1]]
        elif isinstance(section, dict):
            section["something_new"] = value
        else:
            section.append(value)
        path.write_text(json.dumps(document), encoding="utf-8")

    return f"{name}: {'.'.join(map(str, place))} {what} {str(value)[:20]!r}", apply


def _places(value: Any, at: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Paths to every value inside; of long lists and tables only the first ones."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in list(inside)[:12]:
        yield (*at, key)
        if isinstance(each, dict | list):
            yield from _places(each, (*at, key))


def _of_bytes(folder: Path, draw: random.Random) -> tuple[str, Mutation]:
    """Some bytes of a file are changed, or it is cut, or grows."""
    name = draw.choice([*BINARIES, "model.onnx", *TEXTS])
    size = (folder / name).stat().st_size
    what = draw.choice(["changed", "changed", "cut", "filled", "grown"])
    at, count = draw.randrange(size), draw.choice([1, 1, 4, 64])
    noise = draw.randbytes(count)

    def apply(copy: Path) -> None:
        path = copy / name
        data = bytearray(path.read_bytes())
        if what == "cut":
            del data[at:]
        elif what == "grown":
            data += noise * 100
        else:
            data[at : at + count] = noise if what == "changed" else b"\xff" * count
        path.write_bytes(data)

    return f"{name}: {what} at {at}, {count}", apply


def _of_file(folder: Path, draw: random.Random) -> tuple[str, Mutation]:
    """A file is gone, or something else has its name."""
    name = draw.choice([*TEXTS, *BINARIES, "chat_template.jinja"])
    what = draw.choice(["gone", "a folder", "a pipe", "a link", "empty", "another's"])
    target = draw.choice(TARGETS)

    def apply(copy: Path) -> None:
        path = copy / name
        path.unlink()
        if what == "a folder":
            path.mkdir()
        elif what == "a pipe":
            os.mkfifo(path)
        elif what == "a link":
            path.symlink_to(target)
        elif what == "empty":
            path.touch()
        elif what == "another's":
            path.write_bytes((folder / draw.choice(BINARIES)).read_bytes())

    return f"{name}: {what} {target if what == 'a link' else ''}", apply


def _of_templates(folder: Path, draw: random.Random) -> tuple[str, Mutation]:
    """Of several chat templates, as the tokenizer's settings can have them, one is none."""
    one = {"name": "default", "template": "{{ messages[0].content }}"}
    other = {"name": draw.choice(VALUES), "template": draw.choice(VALUES)}
    several = draw.choice([[other], [other, one], [one, other], [one, draw.choice(VALUES)]])

    def apply(copy: Path) -> None:
        (copy / "chat_template.jinja").unlink()
        path = copy / "tokenizer_config.json"
        settings = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(settings | {"chat_template": several}), encoding="utf-8")

    return f"templates: {str(several)[:80]}", apply
