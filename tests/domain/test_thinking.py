"""Thinking is split from the answer, wherever the text was cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ondevice.domain.thinking import CLOSE, OPEN, Thought, split

SPLITS = {
    "thinking and an answer": ("<think>a b</think>c", Thought("a b", "c", open=False)),
    "white space around": ("\n<think>\na\n</think>\n\n c \n", Thought("a", "c \n", open=False)),
    "no thinking": ("  an answer ", Thought("", "  an answer ", open=False)),
    "empty thinking": ("<think>\n\n</think>\n\nc", Thought("", "c", open=False)),
    "no end": ("<think>a </thin", Thought("a </thin", "", open=True)),
    "not at the start": ("c <think>a</think>", Thought("", "c <think>a</think>", open=False)),
    "a second one": ("<think>a</think>b<think>", Thought("a", "b<think>", open=False)),
    "one inside": ("<think>a <think> b</think>c", Thought("a <think> b", "c", open=False)),
    "half a tag": ("<thin", Thought("", "<thin", open=False)),
    "nothing": ("", Thought("", "", open=False)),
}


@pytest.mark.parametrize("name", SPLITS)
def test_a_text_is_split_once_it_is_whole(name: str) -> None:
    text, thought = SPLITS[name]
    assert split(text) == thought


PIECES = st.sampled_from(["<think>", "</think>", "<", "</", "think>", " ", "\n", "a", "b c", "é"])


@given(st.lists(PIECES, max_size=10))
def test_a_growing_text_only_appends_to_its_parts(pieces: list[str]) -> None:
    text = "".join(pieces)
    grown = [split(text[:end], growing=True) for end in range(len(text) + 1)] + [split(text)]
    for before, after in itertools.pairwise(grown):
        assert after.thinking.startswith(before.thinking)
        assert after.answer.startswith(before.answer)


@given(st.lists(PIECES, max_size=10))
def test_nothing_but_the_tags_is_lost(pieces: list[str]) -> None:
    text = "".join(pieces)
    thought = split(text)
    if text.lstrip().startswith(OPEN):
        text = text.replace(OPEN, "", 1).replace(CLOSE, "", 1)
    assert ink(thought.thinking + thought.answer) == ink(text)


def ink(text: str) -> str:
    return "".join(text.split())
