"""Markdown in rows: what is seen, that growing text ends as the whole one, what is copied."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stage import visible
from textual.content import Content
from textual.geometry import Size

from ondevice.tui.widgets.markdown import parts
from ondevice.tui.widgets.prose import Prose
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


def laid_out(text: str, width: int, cuts: Iterable[int] = ()) -> Prose:
    """The widget after `text` came in pieces."""
    prose = Prose()
    prose.get_content_height(Size(), Size(), width)
    bounds = [0, *sorted(cuts), len(text)]
    for begin, end in itertools.pairwise(bounds):
        prose.append(text[begin:end])
        while prose.shown < len(prose.text):
            prose.flush()
    return prose


@given(st.lists(LINES, max_size=12), st.integers(8, 30), st.lists(st.integers(0, 80)))
def test_text_that_grows_ends_as_the_whole_text(
    lines: list[str], width: int, cuts: list[int]
) -> None:
    """But for empty rows: whether a list has them between its items is known at its end."""
    text = "".join(lines)
    grown = laid_out(text, width, [cut for cut in cuts if cut < len(text)])
    assert told(visible(grown)) == told(visible(laid_out(text, width)))


def told(shown: str) -> list[str]:
    return [line for line in shown.split("\n") if line.strip(" ▌")]


SPLIT = {
    "a table's minus": ["| a | b |\n|---|---|\n| 1 | 2\n-", "5 | 3\n"],
    "bold that begins like a rule": ["text\n***", "bold***\n"],
    "bold that begins like an item": ["- item\n*", "*Note**\n"],
    "a sharp within emphasis": ["*a\n#", "1*\n"],
}


@pytest.mark.parametrize("name", SPLIT)
def test_half_a_line_decides_nothing(name: str) -> None:
    first, second = SPLIT[name]
    grown = laid_out(first + second, 40, [len(first)])
    assert visible(grown) == visible(laid_out(first + second, 40))


ENDURED = {
    "emphasis": "*a " * 400 + "b* " * 400 + "end",
    "items in items": "- " * 30 + "x\n\nend",
    "quotes in quotes": "> " * 100 + "x\n\nend",
    "definitions": "[Answer]: 42\n\n[1]: https://x.org\nend",
}


@pytest.mark.parametrize("name", ENDURED)
def test_nothing_is_lost_of_strange_text(name: str) -> None:
    text = ENDURED[name]
    shown = visible(laid_out(text, 60))
    assert shown.endswith("end")
    assert shown.count("x") + shown.count("b") + shown.count("42") >= 1


@pytest.mark.parametrize("text", ["<http://x.org/%1b]52;c;aGk=%1b%5c>", "http://x.org/%1b%5b31m"])
def test_a_decoded_address_is_cleaned(text: str) -> None:
    assert "\x1b" not in visible(laid_out(text, 60))


def test_code_is_copied_without_what_surrounds_it() -> None:
    text = "- a\n  ```py\n  if x:\n  \ty = 1\n  ```"
    assert visible(laid_out(text, 40)) == "• a\n\nif x:\n    y = 1"


def test_a_long_text_stops_being_markdown_and_is_there_at_once() -> None:
    prose = laid_out("**bold**\n" + "word " * 9000, 40, [20])
    assert visible(prose).startswith("**bold**\nword word")
    assert visible(prose).endswith("word")
    assert not prose.markdown


@given(st.text(st.sampled_from("ab \n\t语é-`*[]()|>#1."), max_size=200), st.integers(1, 40))
def test_no_row_is_wider_than_the_screen(text: str, width: int) -> None:
    for part in parts(text):
        for block in part.blocks:
            room = max(width, 9 + block.rest.cell_length)
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


def test_a_copy_that_ends_within_a_character_has_all_of_it() -> None:
    found = rows("xe\u0301👨‍👩‍👧y", 60)
    assert copied(found, 2, 5) == "e\u0301👨‍👩‍👧"


def test_an_image_and_a_link_tell_their_address_when_clicked() -> None:
    content = rows("[a](https://x.org/?q='1') ![b](y.png)", 60)[0].content
    clicks = [style.meta.get("@click") for _, style in content.render() if style.meta]
    assert clicks == ["link(\"https://x.org/?q='1'\")", "link('y.png')"]
