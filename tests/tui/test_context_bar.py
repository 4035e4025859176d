"""The bar of the context: every token has its part, and the parts are told apart without colour."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stage import Person, Stage

from ondevice.domain.context import ContextParts
from ondevice.domain.prompt import PromptTokens
from ondevice.tui.widgets.parts import PATTERNS, amounts, legend, parts_bar, short_legend

MakeStage = Callable[..., Stage]
PANEL = 36
"""Columns of the panel's content."""
tokens = st.integers(0, 2_000_000)
filled = st.builds(
    ContextParts, st.builds(PromptTokens, tokens, tokens, tokens), st.integers(1, 10_000_000)
)


@given(filled, st.integers(4, 100))
def test_the_bar_has_its_width_and_a_cell_for_every_part_that_has_a_token(
    parts: ContextParts, width: int
) -> None:
    shown = parts_bar(parts, width)
    assert len(shown) == width
    there = {PATTERNS[name] for name, amount in amounts(parts).items() if amount}
    assert set(shown) == there
    assert "".join(sorted(shown, key=list(PATTERNS.values()).index)) == shown


@given(filled)
def test_the_amounts_add_up_to_what_the_engine_counts(parts: ContextParts) -> None:
    assert sum(amounts(parts).values()) == max(parts.used, parts.n_ctx or 0)


@given(filled)
def test_the_words_fit_the_panel(parts: ContextParts) -> None:
    assert all(len(row) <= PANEL for row in [*legend(parts), short_legend(parts)])


def test_what_nothing_bounds_has_nothing_free_of_it() -> None:
    parts = ContextParts(PromptTokens(system=10, history=30), None)
    assert parts_bar(parts, 8) == "▓▓██████"
    assert "free no bound" in legend(parts)[1]


async def test_the_panel_shows_the_parts_of_the_turn_and_of_the_path_that_is_gone_back_to(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["one "], repeat=40, settings="context = 100\n")
    stage.chat.conversation.set_system_prompt("Be brief.")
    stage.attachable("notes.txt", "six words\n")
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("What is in @notes.txt now?")
        # words: 2 of the system's, 5 asked, 40 answered; a name, two fences and two words attached
        await person.until(lambda: "▓ system 2        █ history 45" in person.text("#panel"))
        assert "▒ attached 5      ░ free 48" in person.text("#panel")
        await person.ask("And then?")
        await person.until(lambda: "history 42" in person.text("#panel"))
        await person.press("ctrl+r", "up", "up", "b")
        await person.until(lambda: "history 41" in person.text("#panel"))


@pytest.mark.parametrize("width", [80, 60])
async def test_one_line_has_the_bar_by_part(make_stage: MakeStage, width: int) -> None:
    stage = make_stage(pieces=["one "], repeat=40, settings="context = 100\n")
    stage.chat.conversation.set_system_prompt("Be brief.")
    async with stage.app.run_test(size=(width, 24)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("What is it?")
        await person.until(lambda: "ctx ▓█░░ 45/100" in person.text("#line"))
