"""Markdown in rows: what is seen, that growing text ends as the whole one, what is copied."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.content import Content

from ondevice.tui.widgets.markdown import parts
from ondevice.tui.widgets.rows import Row, copied, folded, wrapped

SEEN = {
    "paragraphs": ("one\ntwo\n\nthree", ["one two", "", "three"]),
    "a hard break": ("one  \ntwo", ["one", "two"]),
    "styles": ("*a* **b** ~~c~~ `d  e`", ["a b c d  e"]),
    "headings": ("# One\ntext\n## Two", ["One", "text", "Two"]),
    "items": ("Here:\n- a\n- b\n  more", ["Here:", "• a", "• b more"]),
    "items apart": ("- a\n\n- b", ["• a", "", "• b"]),
    "numbers": ("9. a\n10. b", ["9. a", "10. b"]),
    "nested": ("- a\n  - b\n    1. c\n- d", ["• a", "  ◦ b", "    1. c", "• d"]),
    "an item of two": ("- a\n\n  b\n- c", ["• a", "", "  b", "• c"]),
    "an empty item": ("-\n- a", ["•", "• a"]),
    "a quote": ("a\n\n> b\n>\n> > c", ["a", "", "▌ b", "▌", "▌ ▌ c"]),
    "a year is no item": ("It was in\n1969. Then", ["It was in 1969. Then"]),
    "code": ("a\n```py\nif x:\n    y\n```\nb", ["a", "", " if x:", "     y", "", "b"]),
    "code without an end": ("~~~\n```\n\n- y", [" ```", "", " - y"]),
    "code in an item": ("- a\n  ```\n  b\n  ```", ["• a", "", "   b"]),
    "long words": ("a " + "x" * 25, ["a", "x" * 20, "x" * 5]),
    "long code": ("```\n" + "x" * 25 + "\n```", [" " + "x" * 18, " " + "x" * 7]),
    "a rule": ("a\n\n---", ["a", "", "─" * 20]),
    "a table": (
        "| A | B |\n|---|---|\n| 1 | a long cell here |",
        ["A │ B", "──┼─────────────────", "1 │ a long cell here"],
    ),
    "a table that is too wide": (
        "| A | B |\n|---|---|\n| a longer cell | another one |",
        ["A        │ B", "─────────┼─────────", "a longer │ another", "cell     │ one"],
    ),
    "a table of too many columns": (
        "|" + "aaa|" * 9 + "\n|" + "-|" * 9,
        ["aaa │ aaa │ aaa │", "aaa │ aaa │ aaa │", "aaa │ aaa │ aaa"],
    ),
    "a row with fewer cells": ("| A | B |\n|---|---|\n| 1 |", ["A │ B", "──┼──", "1 │"]),
    "HTML and entities": ("<b>x</b> &#27; &lt;", ["<b>x</b> &#27; &lt;"]),
    "an image": ("![a cat](x.png)![](y.png)", ["[image: a", "cat][image]"]),
    "nothing": ("", []),
    "blank": ("\n\n  \n", []),
}


def rows(text: str, width: int = 20) -> list[Row]:
    return [row for part in parts(text) for block in part.blocks for row in block.rows(width)]


def plain(found: list[Row]) -> list[str]:
    return [row.content.plain.rstrip() for row in found]


@pytest.mark.parametrize("name", SEEN)
def test_markdown_is_seen_as_rows(name: str) -> None:
    text, seen = SEEN[name]
    assert plain(rows(text)) == seen


LINES = st.sampled_from(
    ["- item\n", "1. one\n", "\n", "text\n", "  more\n", "```\n", "~~~~\n", "| a |\n", "|---|\n",
     "> quote\n", "# head\n", "---\n", "    - deep\n", "    code\n", "a *b", "*\n"]
)  # fmt: skip


def grown(pieces: list[str], width: int) -> list[Row]:
    """As the widget does it: what is before the last part is never laid out again."""
    final: list[Row] = []
    text, gap, last = "", None, []
    for piece in pieces:
        text += piece
        found = parts(text, gap)
        last = []
        for part in found:
            final += last
            last = [row for block in part.blocks for row in block.rows(width)]
        if found:
            text, gap = text[found[-1].start :], found[-1].blocks[0].gap
    return final + last


@given(st.lists(LINES, max_size=12), st.integers(8, 30))
def test_text_that_grows_shows_every_word_of_it(lines: list[str], width: int) -> None:
    """As the whole text does; an item that turns out to be followed by a gap may lack its own."""
    whole, piecewise = rows("".join(lines), width), grown(lines, width)
    assert told(piecewise) == told(whole)


def told(found: list[Row]) -> list[str]:
    return [row for row in plain(found) if row.strip(" ▌")]


@given(st.text(st.sampled_from("ab \n\t语é-`*[]()|>#1."), max_size=200), st.integers(1, 40))
def test_no_row_is_wider_than_the_screen(text: str, width: int) -> None:
    for part in parts(text):
        for block in part.blocks:
            room = max(width, 8 + block.rest.cell_length)
            assert all(row.content.cell_length <= room for row in block.rows(width))


@given(st.text(st.sampled_from("ab \n语"), max_size=100), st.integers(8, 20))
def test_a_copy_has_the_lines_of_the_text_not_those_of_the_screen(text: str, width: int) -> None:
    lines = [line.rstrip() for line in text.split("\n")]
    assert copied(list(wrapped(Content(text), width)), 0, None).split("\n") == lines
    assert copied(list(folded(Content(text), width)), 0, None).split("\n") == lines


def test_a_copy_begins_and_ends_where_the_selection_does() -> None:
    found = rows("- one two three four five six")
    assert plain(found) == ["• one two three four", "  five six"]
    assert copied(found, 2, None) == "one two three four five six"
    assert copied(found, 6, 6) == "two three four five"
    assert copied(found[1:], 2, 4) == "fi"


def test_an_image_and_a_link_tell_their_address_when_clicked() -> None:
    content = rows("[a](https://x.org/?q='1') ![b](y.png)", 60)[0].content
    clicks = [style.meta.get("@click") for _, style in content.render() if style.meta]
    assert clicks == ["link(\"https://x.org/?q='1'\")", "link('y.png')"]
