"""Prompts out of a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from ondevice.cli.texts import read_prompts

SEPARATORS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"
"""Where `str.splitlines` also splits."""


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=repr)
def test_only_ends_of_lines_part_prompts(tmp_path: Path, end: str) -> None:
    path = tmp_path / "prompts.txt"
    lines = [f"one{SEPARATORS}prompt", "", "another", '{"prompt": "a"}']
    path.write_bytes(end.join(lines).encode())
    assert read_prompts(path) == [lines[0], "another", '{"prompt": "a"}']


def test_an_object_holds_what_json_allows(tmp_path: Path) -> None:
    path = tmp_path / "prompts.JSONL"
    path.write_text('{"prompt": "one\u2028\x85prompt"}\n{"prompt": "two\\nlines"}\n', "utf-8")
    assert read_prompts(path) == ["one\u2028\x85prompt", "two\nlines"]
