"""What is kept between requests: right whatever happened before, and never more than needed."""

from __future__ import annotations

import re
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from ondevice.engines.kept import KeptPrefix, common_prefix

MARK = "\x01"
"""The toy tokenizer's special token; every other token is text."""
MERGED = ("ab", "bc", "a", "b", "c", "d")


class Toy:
    """Merges greedily, so text that is split otherwise gets other ids for the same text."""

    def __init__(self) -> None:
        self.words = [MARK, *MERGED]
        self.asked: list[str] = []

    def tokenize(self, text: str, _at_start: bool) -> list[int]:
        self.asked.append(text)
        return [self.words.index(word) for word in re.findall("|".join(self.words), text)]

    def read(self, ids: list[int]) -> str:
        return "".join(self.words[one] for one in ids)

    @staticmethod
    def is_special(token: int) -> bool:
        return token == 0


def render(messages: list[str]) -> str:
    return "".join(MARK + message + MARK for message in messages) + MARK


class Chat:
    """A conversation as the engine sees it: render, take ids, remember."""

    def __init__(self) -> None:
        self.toy, self.kept = Toy(), KeptPrefix()
        self.messages: list[str] = []

    def ask(self, *messages: str) -> list[int]:
        self.messages = [*messages]
        rendered = render(self.messages)
        self.toy.asked.clear()
        ids = self.kept.ids_for(rendered, self.toy.tokenize, self.toy.is_special)
        self.kept.remember_prompt(ids, rendered)
        return ids

    def reply(self, ids: list[int], certain: bool = True) -> str:
        text = self.toy.read(ids)
        self.kept.remember_reply(ids, text if certain else None)
        return text


A_THEN_B = [Toy().words.index("a"), Toy().words.index("b")]
"""Reads "ab", which the tokenizer itself would write as one token."""


def test_a_new_turn_tokenizes_only_what_was_added() -> None:
    chat = Chat()
    first = chat.ask("cd")
    reply = chat.reply(A_THEN_B)
    second = chat.ask("cd", reply, "d")
    assert second[: len(first) + 2] == first + A_THEN_B
    assert chat.toy.asked == [MARK + MARK + "d" + MARK + MARK]


def test_a_regenerated_answer_has_the_same_prompt_ids_and_tokenizes_nothing() -> None:
    chat = Chat()
    first = chat.ask("cd")
    chat.reply(A_THEN_B)
    assert chat.ask("cd") == first
    assert chat.toy.asked == []


def test_an_edited_message_does_not_take_ids_of_the_old_text() -> None:
    chat = Chat()
    chat.ask("cd")
    reply = chat.reply(A_THEN_B)
    chat.ask("cd", reply, "d")
    chat.reply(A_THEN_B)
    edited = chat.ask("cc", "ab", "d")
    assert chat.toy.read(edited) == render(["cc", "ab", "d"])


def test_a_reply_the_template_trimmed_is_tokenized_again_from_before_it() -> None:
    chat = Chat()
    chat.ask("cd")
    chat.reply([*A_THEN_B, chat.toy.words.index("d")])
    ids = chat.ask("cd", "ab", "c")
    assert chat.toy.read(ids) == render(["cd", "ab", "c"])


def test_a_reply_whose_text_is_uncertain_keeps_the_marks_before_it() -> None:
    chat = Chat()
    first = chat.ask("cd")
    chat.reply(A_THEN_B, certain=False)
    assert chat.ask("cd") == first
    assert chat.toy.asked == []


def test_a_reply_without_text_is_no_part_of_the_same_prompt_asked_again() -> None:
    chat = Chat()
    first = chat.ask("cd")
    chat.kept.remember_reply(A_THEN_B, "")
    assert chat.ask("cd") == first


def test_ids_without_a_text_are_never_taken_for_the_beginning_of_a_chat() -> None:
    chat = Chat()
    chat.kept.remember_prompt([5, 5, 5], None)
    chat.kept.remember_reply([4, 4], "bb")
    assert chat.toy.read(chat.ask("cd")) == render(["cd"])


MESSAGE = st.text("abcd", max_size=5)
STEP = st.tuples(
    st.sampled_from(["turn", "regenerate", "edit", "trim", "new", "raw ids"]),
    MESSAGE,
    st.lists(st.integers(1, len(MERGED)), max_size=4),
    st.booleans(),
)


def next_messages(messages: list[str], step: str, text: str) -> list[str]:
    changes: dict[str, Callable[[], list[str]]] = {
        "turn": lambda: [*messages, text],
        "regenerate": lambda: messages[:-1] or [text],
        "edit": lambda: [text, *messages[1:]],
        "trim": lambda: [*messages[:-1], messages[-1][:-1], text] if messages else [text],
        "new": lambda: [text],
        "raw ids": lambda: [text],
    }
    return changes[step]()


@given(st.lists(STEP, max_size=8))
@settings(deadline=None)
def test_whatever_the_history_the_ids_read_what_was_rendered(
    steps: list[tuple[str, str, list[int], bool]],
) -> None:
    chat = Chat()
    for step, text, reply, certain in steps:
        if step == "raw ids":
            chat.kept.remember_prompt(reply, None)
            chat.kept.remember_reply(reply, text)
        ids = chat.ask(*next_messages(chat.messages, step, text))
        assert chat.toy.read(ids) == render(chat.messages)
        chat.messages.append(chat.reply(reply, certain))


@given(st.lists(st.integers(0, 2), max_size=6), st.lists(st.integers(0, 2), max_size=6))
def test_a_common_prefix_is_common_and_longest(left: list[int], right: list[int]) -> None:
    shared = common_prefix(left, right)
    assert left[:shared] == right[:shared]
    assert left[shared : shared + 1] != right[shared : shared + 1] or shared == len(left)
