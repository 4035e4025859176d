"""Pickers, help and links: what they list, what they return, and where the focus goes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from stage import Person, Stage
from textual import events
from textual.binding import Binding
from textual.widgets import DataTable, OptionList, Static

from ondevice.tui.app import OnDeviceApp
from ondevice.tui.screens.chat import ChatScreen
from ondevice.tui.screens.help import HelpScreen, definitions
from ondevice.tui.screens.link import LinkScreen
from ondevice.tui.screens.pick import PickScreen
from ondevice.tui.screens.sessions import SessionsScreen
from ondevice.tui.widgets.composer import Composer
from ondevice.tui.widgets.conversation import Conversation
from ondevice.tui.widgets.finder import Finder
from ondevice.tui.widgets.numbers import LABEL
from ondevice.tui.widgets.parts import PATTERNS
from ondevice.tui.widgets.prose import Prose
from ondevice.tui.widgets.talk import Talk

MakeStage = Callable[..., Stage]


def rows(person: Person) -> list[str]:
    """The picker's rows as text."""
    return [str(option.prompt) for option in person.screen.query_one(OptionList).options]


async def test_escape_leaves_a_picker_and_the_composer_has_the_focus(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.press("f3")
        assert isinstance(person.screen, PickScreen)
        await person.press("escape")
        assert person.app.focused is person.composer


async def test_a_model_is_found_by_typing_and_loaded_by_enter(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["first"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.press("f2")
        await person.until(lambda: person.screen.query(DataTable))
        await person.press("slash", *"second", "enter", "enter")
        await person.until(lambda: "second-model" in person.text("#running"))
        await person.ready()
        await person.ask("question")
        assert person.bubbles()[1] == ("second-model", "second")


async def test_the_model_that_runs_is_not_loaded_again_when_chosen(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["first"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        serving = stage.chat.info
        await person.press("f2", "slash", *"echo", "enter", "enter")
        await person.until(lambda: person.screen is stage.app.chat_screen)
        await person.ask("question")
        assert person.bubbles()[1] == ("echo-model", "first")
        assert stage.chat.info is serving


async def test_a_model_that_does_not_load_leaves_the_one_before(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["first"], more={"broken": {"load_signal": "SIGABRT"}})
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        person.app.chat_screen.load(stage.files["broken"])
        await person.until(person.bubbles)
        assert "SIGABRT" in person.bubbles()[-1][1]
        assert "echo-model is loaded again." in person.bubbles()[-1][1]
        await person.ready()
        assert "echo-model Q4_K_M" in person.text("#running")
        await person.ask("question")
        assert person.bubbles()[-1] == ("echo-model", "first")


async def test_a_model_that_does_not_load_again_is_not_tried_for_ever(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["first"], more={"broken": {"load_signal": "SIGABRT"}})
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        stage.files["echo-model"].path.write_text("no script")
        person.app.chat_screen.load(stage.files["broken"])
        await person.until(lambda: person.text("#running") == "no model")
        await person.until(lambda: len(person.bubbles()) == 2)
        assert "is loaded again" not in person.bubbles()[-1][1]
        assert "f5" in person.screen.active_bindings  # somebody may mend it


async def test_what_is_not_known_cannot_be_chosen(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["first"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.press("f3", *"absent-minded", "enter")
        assert isinstance(person.screen, PickScreen)
        assert person.screen.query_one("#empty").display


async def test_another_baseline_changes_the_cost_of_what_was_said(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["word "], repeat=100)
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        # 1 token in, 100 out, at 0.04 and at 20 dollars per million
        await person.until(lambda: "avoided       $0.0000040" in person.text("#panel"))
        assert "against     Cloud frontier" in person.text("#panel")
        assert "counted by the local tokenizer" in person.text("#panel")
        await person.press("f3", *"dear", "enter")
        await person.until(lambda: "avoided       $0.0020" in person.text("#panel"))
        assert "against     Cloud dear" in person.text("#panel")
        assert "prices of   2026-11-24" in person.text("#panel")


async def test_a_stored_session_is_shown_and_goes_on(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["**old** answer"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("old question")
        await person.press("f8")
        await person.until(lambda: person.bubbles() == [])
        await person.ask("other question")
        await person.press("f4")
        await person.until(lambda: any(each.row_count for each in person.screen.query(DataTable)))
        await person.press("down", "enter")
        await person.until(
            lambda: person.bubbles() == [("You", "old question"), ("echo-model", "**old** answer")]
        )
        await person.press("up")
        assert person.composer.text == "old question"
        await person.press("enter")
        await person.until(lambda: len(stage.stored()) == 4 and not person.busy)


async def test_of_a_long_session_the_end_is_shown_and_more_on_request(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    session = stage.sessions.create("long")
    for number in range(35):
        stage.sessions.add(session.id, "user", f"question {number}")
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.press("f4")
        await person.until(lambda: any(each.row_count for each in person.screen.query(DataTable)))
        await person.press("down", "enter")
        await person.until(lambda: len(person.bubbles()) == 30)
        assert person.bubbles()[-1] == ("You", "question 34")
        talk = person.screen.query_one("#conversation")
        await person.until(lambda: talk.scroll_y > 0 and talk.scroll_y == talk.max_scroll_y)
        assert talk.border_subtitle == "5 earlier: PgUp"
        for _ in range(8):
            await person.press("pageup")
        assert person.bubbles()[0] == ("You", "question 0")
        assert talk.border_subtitle == ""


async def test_a_session_opened_while_an_answer_is_made_is_refused(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["word "], repeat=900, delay_s=0.02)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.send("question")
        await person.press("f8")
        assert "Esc stops" in person.notices()[-1]
        assert person.bubbles() != []
        await person.press("escape")
        await person.until(lambda: not person.busy)


def named_bindings() -> list[Binding]:
    sources = (Composer, ChatScreen, Talk, Conversation, Finder, OnDeviceApp)
    every = [binding for source in sources for binding in source.BINDINGS]
    return [binding for binding in every if isinstance(binding, Binding) and binding.id]


async def test_help_lists_every_named_key_with_what_it_does(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test(size=(120, 60)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.press("f1")
        assert isinstance(person.screen, HelpScreen)
        terms = [str(term.content) for term in person.screen.query(".term").results(Static)]
        words = [str(word.content) for word in person.screen.query(".words").results(Static)]
        for binding in named_bindings():
            assert binding.tooltip in words
        assert terms[:5] == ["Enter", "Shift+Enter, Ctrl+J", "PgUp", "PgDn", "Esc"]
        assert {"TTFT", "decode tok/s", "model pages", "cost avoided", "unknown"} <= set(terms)
        assert words[terms.index("loaded")] == "flash attention off, weights not repacked"
        await person.press("escape")
        assert person.app.focused is person.composer


async def test_help_explains_every_row_of_the_panel(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["word "], repeat=3)
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.until(lambda: "frontier" in person.text("#panel"))
        rows = person.text("#panel").splitlines()
        labels = {row[:LABEL].strip() for row in rows if row[:1] not in PATTERNS.values()}
        labels -= {"", "counted by the"}
        terms = [term.removeprefix("cost ") for term, _ in definitions()]
        assert len(labels) == 14
        assert not [label for label in labels if not any(t.startswith(label) for t in terms)]


async def test_ctrl_c_stops_the_answer_when_nothing_is_selected(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["word "], repeat=900, delay_s=0.02)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.press("ctrl+c")
        assert person.notices() == ["F10 quits."]
        await person.send("question")
        await person.press("ctrl+c")
        await person.until(lambda: not person.busy)
        assert stage.stored()[1].state == "interrupted"


async def test_f10_leaves_from_a_dialog_too(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        await (await Person(stage, pilot).ready()).press("f1", "f10")
        await pilot.pause()
    assert stage.app.return_value == 0


async def test_leaving_tells_once_of_what_is_written_and_not_sent(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.write("half a question")
        await person.press("f2", "f10")
        assert person.notices() == ["What you wrote is not sent. F10 again leaves it."]
        await person.press("escape", "x", "f10")  # another text
        assert len(person.notices()) == 2
        assert stage.app.return_value is None
        await person.press("f10")
        await pilot.pause()
    assert stage.app.return_value == 0


async def test_leaving_counts_the_keys_pressed_before_it(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        for key in ("a", "f10"):  # without a pause between them
            stage.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await person.until(person.notices)
        assert person.notices() == ["What you wrote is not sent. F10 again leaves it."]
        for key in ("enter", "f10"):
            stage.app.post_message(events.Key(key, None))
        await person.until(lambda: stage.app.return_value == 0)
        assert len(person.notices()) == 1


async def test_a_recalled_question_is_not_taken_for_a_new_one(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        await person.press("up")
        assert person.composer.text == "question"
        await person.press("f10")
        await pilot.pause()
    assert stage.app.return_value == 0


def test_each_definition_is_one_line_of_words() -> None:
    found = dict(definitions())
    assert found["TTFT"].startswith("seconds from the request")
    assert all("\n" not in words for words in found.values())


LINKS = {
    "https://example.com/a?b=c": True,
    "HTTP://example.com": True,
    "file:///etc/passwd": False,
    "javascript:alert(1)": False,
    "ssh://host": False,
    "https://example.com/" + "x" * 3000: False,
}


async def test_a_link_is_shown_first_and_only_a_web_address_opens(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    stage = make_stage(pieces=["a [link](https://example.com)"])
    opened: list[str] = []
    stage.app.open_url = lambda url, new_tab=True: opened.append(url)  # type: ignore[method-assign]
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("link, please")
        prose = person.screen.query(Prose).last()
        for href, opens in LINKS.items():
            opened.clear()
            prose.post_message(Prose.LinkClicked(href))
            await person.until(lambda: isinstance(person.screen, LinkScreen))
            assert opened == []
            await person.press("o")
            assert opened == ([href] if opens else [])
            await person.press("escape")
            await person.until(lambda: person.app.focused is person.composer)


async def test_a_click_on_a_link_opens_nothing_by_itself(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["[link](https://example.com)"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("link, please")
        await pilot.click(person.screen.query(Prose).last(), offset=(3, 0))
        await person.until(lambda: isinstance(person.screen, LinkScreen))
        assert isinstance(person.screen, LinkScreen)
        assert person.screen.address == "https://example.com"


async def test_a_link_without_a_desktop_is_copied(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    stage = make_stage(pieces=["[link](https://example.com)"])
    opened: list[str] = []
    stage.app.open_url = lambda url, new_tab=True: opened.append(url)  # type: ignore[method-assign]
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("link, please")
        person.screen.query(Prose).last().action_link("https://example.com")
        await person.until(lambda: isinstance(person.screen, LinkScreen))
        await person.press("o")
        assert opened == []
        await person.press("c")
        assert person.app.clipboard == "https://example.com"
        await person.until(lambda: person.app.focused is person.composer)


async def test_the_palette_lists_what_the_keys_do(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        listed = [command.title for command in stage.app.get_system_commands(person.screen)]
        assert listed == [
            "Help",
            "Models",
            "Baseline",
            "Sessions",
            "Costs",
            "Settings",
            "Quit",
            "Stop",
            "Reload",
            "New",
            "Context",
            "Schema",
            "Useful",
            "Again",
            "Edit",
            "Branch",
            "Before",
            "After",
            "Paths",
            "Theme",
        ]
        await person.press("ctrl+p")
        await person.until(lambda: type(person.app.screen).__name__ == "CommandPalette")
        await person.press(*"sessions")
        await person.until(lambda: person.app.screen.query("OptionList").first().option_count)
        await person.press("enter")
        await person.until(lambda: isinstance(person.app.screen, SessionsScreen))


async def test_what_begins_with_what_is_typed_comes_first(make_stage: MakeStage) -> None:
    stage = make_stage(more={"a-second-model": {"pieces": ["other"]}})
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.press("f2")
        await person.until(lambda: any(each.row_count for each in person.screen.query(DataTable)))
        await person.press("slash", *"second")
        models = person.screen.query_one(DataTable)
        await person.until(lambda: models.row_count == 2)
        assert str(models.get_row_at(0)[0]).strip() == "second-model"
        await person.press("escape", "escape", "f3", *"cloud", "space", "d")
        await person.until(lambda: rows(person)[0].startswith("Cloud dear"))
        assert len(rows(person)) == 3  # of the others only the first word begins so


async def test_what_did_not_load_is_past_once_another_model_is_chosen(
    make_stage: MakeStage,
) -> None:
    stage = make_stage()
    stage.app = stage.make_app("absent-model")
    async with stage.app.run_test() as pilot:
        person = Person(stage, pilot)
        await person.until(person.bubbles)
        assert "absent-model is not on this machine" in person.bubbles()[0][1]
        await person.press("f2")
        await person.until(lambda: any(each.row_count for each in person.screen.query(DataTable)))
        await person.press("slash", *"second", "enter", "enter")
        await person.ready()
        assert person.bubbles() == []
