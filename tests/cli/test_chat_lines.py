"""Lines become questions: whatever they hold, none is lost and none is made up."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ondevice.cli.chat.lines import MARK, Lines

LINES = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)


def read(text: str) -> list[str]:
    """What a pipe with `text` asks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        return list(iter(Lines().read, None))


@given(st.lists(LINES))
def test_a_line_is_a_question(lines: list[str]) -> None:
    plain = [line for line in lines if not line.startswith(MARK) and not line.endswith("\\")]
    asked = [line for line in plain if line.strip()]
    assert read("\n".join(plain)) == asked
    assert read("".join(f"{line}\r\n" for line in plain)) == asked


def without_mark(lines: list[str]) -> Iterator[str]:
    return (line for line in lines if not line.rstrip().endswith(MARK[0]))


@given(st.lists(LINES, min_size=1), LINES)
def test_a_block_is_a_question_and_the_next_line_another(lines: list[str], after: str) -> None:
    inside = "\n".join(without_mark(lines))
    following = f"x{after}x"
    asked = read(f"{MARK}\n{inside}\n{MARK}\n{following}\n")
    assert asked == [*([inside.strip("\n")] if inside.strip() else []), following]


@given(st.lists(LINES, min_size=1))
def test_lines_that_go_on_are_one_question(lines: list[str]) -> None:
    parts = [f"x{line}x" for line in lines]
    assert read("\\\n".join(parts)) == ["\n".join(parts)]


@given(st.binary(max_size=200))
def test_bytes_that_are_no_text_are_read_as_well(data: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        for line in iter(Lines().read, None):
            line.encode()
