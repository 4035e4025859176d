"""Where Markdown is cut into segments, and that nothing is lost by it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ondevice.tui.widgets.prose import segments, too_costly

CUTS = {
    "paragraphs": ["one\ntwo\n\n", "three\n"],
    "items": ["Here:\n", "- a\n", "- b\n  more\n", "- c"],
    "numbered": ["1. a\n", "2. b\n", "10. c\n"],
    "nested": ["- a\n  - b\n    - c\n", "- d\n"],
    "a loose item keeps its paragraphs": ["- a\n\n  more of a\n\n", "- b\n"],
    "a year in prose is no item": ["It was in\n1969. Then\n"],
    "code is never cut": ["```python\nx = 1\n\n- y\n\n1. z\n```\n", "- after\n"],
    "code that never ends": ["~~~\n```\n\n- y\n"],
    "a table is never cut": ["| a |\n|---|\n| 1 |\n| 2 |\n"],
    "a heading": ["# Title\n\n", "text\n\n", "## Next\n"],
}


@pytest.mark.parametrize("name", CUTS)
def test_markdown_is_cut_between_blocks_and_items(name: str) -> None:
    assert segments("".join(CUTS[name])) == CUTS[name]


LINES = st.sampled_from(
    ["- item\n", "1. one\n", "\n", "text\n", "  more\n", "```\n", "~~~~\n", "| a |\n"]
)


@given(st.lists(LINES))
def test_the_segments_are_the_text(lines: list[str]) -> None:
    assert "".join(segments("".join(lines))) == "".join(lines)


@given(st.lists(LINES), st.data())
def test_what_is_cut_once_stays_cut(lines: list[str], data: st.DataObject) -> None:
    """Text that grows never joins segments that were finished."""
    text = "".join(lines)
    end = data.draw(st.integers(0, len(text)))
    assert segments(text)[: len(segments(text[:end])) - 1] == segments(text[:end])[:-1]


def test_an_ordinary_answer_is_not_too_costly() -> None:
    table = "| a | b | c |\n" * 20
    items = "- an item of a list\n" * 40
    code = "```python\n" + "print('x')\n" * 100 + "```\n"
    assert not too_costly(table + "\n" + items + "\n" + code + "some prose. " * 400)
