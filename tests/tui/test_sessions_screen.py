"""The sessions screen: what it lists and finds, and what one does with a session there."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from kept_sessions import keep, look
from stage import Person, Stage
from textual.widgets import DataTable, Input, Static

from ondevice.tui.screens.confirm import ConfirmScreen
from ondevice.tui.screens.edit import EditScreen
from ondevice.tui.screens.pick import PickScreen
from ondevice.tui.screens.sessions import SessionsScreen
from ondevice.tui.session_rows import MARK

MakeStage = Callable[..., Stage]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the app was started: exports go there."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


def table(person: Person) -> DataTable[object]:
    return person.screen.query_one(DataTable)


def rows(person: Person) -> list[list[str]]:
    """The cells of every row, as far as they are wide."""
    shown = table(person)
    return [
        [str(cell).strip() for cell in shown.get_row_at(number)]
        for number in range(shown.row_count)
    ]


def titles(person: Person) -> list[str]:
    return [row[0] for row in rows(person)]


def said(person: Person, selector: str) -> str:
    return " ".join(str(person.screen.query_one(selector, Static).content).split())


async def back_on(person: Person, *keys: str) -> None:
    """Press `keys` on a dialog, until it is answered."""
    await person.press(*keys)
    await person.until(lambda: isinstance(person.screen, SessionsScreen))


async def noticed(person: Person, words: str) -> None:
    await person.until(lambda: any(words in notice for notice in person.notices()))


async def test_a_cut_title_is_parted_from_the_date(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["one"])
    keep(stage, "a title that is longer than its column " * 3, "Rain?", "Perhaps.")
    async with stage.app.run_test(size=(80, 24)) as pilot:
        person = await Person(stage, pilot).ready()
        await look(person)
        shown = table(person)
        column = shown.ordered_columns[0]
        cut = [str(shown.get_row_at(number)[0]) for number in range(shown.row_count)][-1]
        assert cut.endswith("…")
        assert len(cut) == column.width - 1


async def test_every_session_is_a_row_the_one_used_last_first(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["one two three"])
    keep(stage, "Lisbon", "Rain?", "Perhaps.")
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("Eggs?")
        await look(person)
        assert titles(person) == ["● Eggs?", "Lisbon"]
        assert rows(person)[0][2:] == ["2", "echo-model", "1"]
        assert rows(person)[1][2:] == ["2", "small", "-"]
        assert len(rows(person)[0][1]) == len("2026-11-27 06:48")
        assert "no system prompt" in said(person, "#facts")


async def test_what_is_open_and_not_stored_is_the_first_row(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await look(person)
        assert titles(person) == ["● New session"]
        assert "No session is kept here yet" in said(person, "#none")
        await person.press("r")
        await noticed(person, "not stored")
        await person.press("enter")
        assert person.screen is stage.app.chat_screen


async def test_enter_opens_and_escape_goes_back_to_the_composer(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    keep(stage, "Lisbon", "Rain?", "Perhaps.")
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await look(person)
        await person.press("down", "enter")
        await person.until(lambda: person.bubbles() == [("You", "Rain?"), ("small", "Perhaps.")])
        await look(person)
        assert titles(person) == ["● Lisbon"]
        await person.press("escape")
        assert person.app.focused is person.composer


class TestASearch:
    async def test_finds_titles_and_messages_with_the_words_marked(
        self, make_stage: MakeStage
    ) -> None:
        stage = make_stage(pieces=["yes"])
        keep(stage, "Rain in Lisbon", "What to pack?", "A coat: " + "it may be wet, " * 9 + "rain.")
        keep(stage, "Eggs", "How long?")
        async with stage.app.run_test() as pilot:
            person = await Person(stage, pilot).ready()
            await look(person)
            await person.press("slash", *"rain")
            await person.until(lambda: titles(person) == ["Rain in Lisbon"] * 2)
            assert [row[1] for row in rows(person)] == ["the title", "small"]
            for number in range(2):
                excerpt = table(person).get_row_at(number)[2]
                marked = [excerpt.plain[each.start : each.end] for each in excerpt.spans
                          if str(each.style) == MARK]  # fmt: skip
                assert [each.lower() for each in marked] == ["rain"]
                assert excerpt.plain.lower().index("rain") < 36
            await person.press("escape")
            await person.until(lambda: len(rows(person)) == 3)

    async def test_opens_the_session_at_what_was_found_also_on_another_path(
        self, make_stage: MakeStage
    ) -> None:
        stage = make_stage(pieces=["yes"])
        session = keep(stage, "Long", *(f"message {number}" for number in range(80)))
        hidden = stage.sessions.add(session.id, "user", "needle", after=0)
        stage.sessions.add(session.id, "assistant", "answer below", after=hidden.id)
        stage.sessions.add(session.id, "user", "shown instead", after=0)
        async with stage.app.run_test() as pilot:
            person = await Person(stage, pilot).ready()
            await look(person)
            await person.press("slash", *"needle")
            await person.until(lambda: len(rows(person)) == 1 and rows(person)[0][1] == "You")
            await person.press("enter")
            await person.until(
                lambda: person.bubbles() == [("You", "needle"), ("model", "answer below")]
            )

    async def test_that_finds_nothing_says_so(self, make_stage: MakeStage) -> None:
        stage = make_stage(pieces=["yes"])
        keep(stage, "Eggs", "How long?")
        async with stage.app.run_test() as pilot:
            person = await Person(stage, pilot).ready()
            await look(person)
            await person.press("slash", *"zebra")
            await person.until(lambda: "No title and no message" in said(person, "#none"))
            assert not table(person).display
            await person.press("enter", "delete", "r")
            assert isinstance(person.screen, SessionsScreen)


async def test_another_title_is_kept_and_shown_on_the_frame(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("Eggs?")
        await look(person)
        await person.press("r")
        person.screen.query_one(Input).value = " "
        await person.press("enter")
        assert isinstance(person.screen, EditScreen)
        person.screen.query_one(Input).value = "Soft [/] eggs"
        await back_on(person, "enter")
        await person.until(lambda: titles(person) == ["● Soft [/] eggs"])
        await person.press("escape")
        frame = person.screen.query_one("#conversation").border_title
        assert frame == "Soft \\[/] eggs"


class TestASystemPrompt:
    async def test_has_lines_and_is_kept(self, make_stage: MakeStage) -> None:
        stage = make_stage(pieces=["yes"])
        session = keep(stage, "Lisbon", "Rain?")
        async with stage.app.run_test() as pilot:
            person = await Person(stage, pilot).ready()
            await look(person)
            await person.press("down", "s", *"Be brief.", "ctrl+j", *"Be kind.")
            await back_on(person, "enter")
            await person.until(lambda: "Be kind." in said(person, "#facts"))
            assert stage.sessions.get(session.id).system_prompt == "Be brief.\nBe kind."

    async def test_may_begin_from_a_preset_and_is_what_the_model_is_told(
        self, make_stage: MakeStage
    ) -> None:
        presets = '[presets]\ntutor = "You teach."\npirate = "Arr."\n'
        stage = make_stage(pieces=["yes"], settings=presets)
        async with stage.app.run_test() as pilot:
            person = await Person(stage, pilot).ready()
            await look(person)
            await person.press("s")
            assert isinstance(person.screen, PickScreen)
            await person.press(*"pirate", "enter")
            await person.until(lambda: isinstance(person.screen, EditScreen))
            await back_on(person, "enter")
            await noticed(person, "next answer")
            await person.press("escape")
            await person.ask("question")
            assert stage.sessions.recent()[0].system_prompt == "Arr."


class TestAFile:
    @pytest.mark.parametrize(("form", "begins"), [("md", "# Lisbon"), ("json", "{")])
    async def test_is_written_in_this_folder_and_replaces_none(
        self, form: str, begins: str, make_stage: MakeStage, folder: Path
    ) -> None:
        stage = make_stage(pieces=["yes"])
        keep(stage, "Lisbon", "Rain?", "Perhaps.")
        (folder / f"lisbon.{form}").write_text("mine")
        async with stage.app.run_test() as pilot:
            person = await Person(stage, pilot).ready()
            await look(person)
            await person.press("down", "x")
            await back_on(person, *form, "enter")
            await noticed(person, str(folder / f"lisbon-2.{form}"))
        assert (folder / f"lisbon.{form}").read_text() == "mine"
        assert (folder / f"lisbon-2.{form}").read_text().startswith(begins)

    async def test_that_was_exported_is_taken_in(self, make_stage: MakeStage, folder: Path) -> None:
        stage = make_stage(pieces=["yes"])
        keep(stage, "Lisbon", "Rain?", "Perhaps.")
        async with stage.app.run_test() as pilot:
            person = await Person(stage, pilot).ready()
            await look(person)
            await person.press("down", "x")
            await back_on(person, *"json", "enter")
            await noticed(person, "Written")
            await person.press("i", *"nowhere", "enter")
            assert "no such file" in said(person, "#complaint")
            person.screen.query_one(Input).value = "lisbon.json"
            await back_on(person, "enter")
            await person.until(lambda: len(rows(person)) == 3)
        newest = stage.sessions.recent()[0]
        assert [each.content for each in stage.sessions.messages(newest.id)] == [
            "Rain?",
            "Perhaps.",
        ]

    @pytest.mark.parametrize("content", ["{}", "\x00", json.dumps({"format": "other"})])
    async def test_that_is_no_session_is_refused(
        self, content: str, make_stage: MakeStage, folder: Path
    ) -> None:
        (folder / "other.json").write_text(content)
        stage = make_stage(pieces=["yes"])
        async with stage.app.run_test() as pilot:
            person = await Person(stage, pilot).ready()
            await look(person)
            await person.press("i", *"other.json")
            await back_on(person, "enter")
            await noticed(person, "no session that ondevice exported")
        assert stage.sessions.recent() == []

    async def test_that_cannot_be_written_is_a_notice(
        self, make_stage: MakeStage, folder: Path
    ) -> None:
        stage = make_stage(pieces=["yes"])
        keep(stage, "Lisbon", "Rain?")
        async with stage.app.run_test() as pilot:
            person = await Person(stage, pilot).ready()
            await look(person)
            folder.rmdir()
            await person.press("down", "x")
            await back_on(person, *"md", "enter")
            await noticed(person, "cannot be written")


class TestDeleting:
    async def test_is_asked_first_and_says_that_accounts_stay(self, make_stage: MakeStage) -> None:
        stage = make_stage(pieces=["yes"])
        keep(stage, "Lisbon", "Rain?", "Perhaps.")
        async with stage.app.run_test() as pilot:
            person = await Person(stage, pilot).ready()
            await look(person)
            await person.press("down", "delete")
            await person.until(lambda: isinstance(person.screen, ConfirmScreen))
            asked = said(person, "#lines")
            assert "2 messages" in asked
            assert "accounts" in asked
            await back_on(person, "enter", "escape")
            assert len(stage.sessions.recent()) == 1
            await person.press("delete")
            await back_on(person, "y")
            await person.until(lambda: titles(person) == ["● New session"])
        assert stage.sessions.recent() == []

    async def test_of_one_says_what_a_damaged_database_may_keep_of_it(
        self, make_stage: MakeStage
    ) -> None:
        stage = make_stage(pieces=["yes"])
        keep(stage, "Lisbon", "Rain?", "Perhaps.")
        aside = stage.folder / "data" / "ondevice.db.corrupt-1"
        aside.write_text("Lisbon")
        async with stage.app.run_test() as pilot:
            person = await Person(stage, pilot).ready()
            await look(person)
            await person.press("down", "delete")
            await person.until(lambda: isinstance(person.screen, ConfirmScreen))
            asked = said(person, "#lines")
            assert "a damaged database, which may hold parts of it: " in asked
            assert str(aside) in asked.replace(" ", "")
            await back_on(person, "y")
            await person.until(lambda: titles(person) == ["● New session"])
        assert aside.exists()

    async def test_the_open_one_leaves_an_empty_chat_and_its_accounts(
        self, make_stage: MakeStage
    ) -> None:
        stage = make_stage(pieces=["yes"])
        other = keep(stage, "Lisbon", "Rain?")
        async with stage.app.run_test() as pilot:
            person = await Person(stage, pilot).ready()
            await person.ask("Eggs?")
            await look(person)
            await person.press("delete")
            await back_on(person, "y")
            await person.until(lambda: titles(person) == ["● New session", "Lisbon"])
            await person.press("escape")
            await person.until(lambda: person.bubbles() == [])
            await person.ask("And now?")
        assert [each.title for each in stage.sessions.recent()] == ["And now?", other.title]

    async def test_takes_what_was_copied_along(self, make_stage: MakeStage) -> None:
        stage = make_stage(pieces=["Perhaps."])
        async with stage.app.run_test() as pilot:
            person = await Person(stage, pilot).ready()
            await person.ask("Rain?")
            await person.press("ctrl+r", "c", "escape")
            copied = stage.folder / "data" / "copied.txt"
            assert copied.read_text() == "Perhaps."
            await look(person)
            await person.press("delete")
            await back_on(person, "y")
            await person.until(lambda: titles(person) == ["● New session"])
            assert not copied.exists()

    async def test_all_of_them_has_a_question_of_its_own(self, make_stage: MakeStage) -> None:
        stage = make_stage(pieces=["yes"])
        for number in range(3):
            keep(stage, f"session {number}", "question")
        async with stage.app.run_test() as pilot:
            person = await Person(stage, pilot).ready()
            await look(person)
            await person.press("D")
            await person.until(lambda: isinstance(person.screen, ConfirmScreen))
            assert "all 3 sessions" in str(person.screen.query_one("#confirm").border_title)
            await back_on(person, "y")
            await person.until(lambda: titles(person) == ["● New session"])
            await person.press("D")
            await noticed(person, "nothing to delete")
        assert stage.sessions.recent() == []

    async def test_what_is_being_answered_is_refused(self, make_stage: MakeStage) -> None:
        stage = make_stage(pieces=["word "], repeat=900, delay_s=0.02)
        keep(stage, "Lisbon", "Rain?")
        async with stage.app.run_test() as pilot:
            person = await Person(stage, pilot).ready()
            await person.send("question")
            await person.until(lambda: len(stage.sessions.recent()) == 2)
            await look(person)
            for key in ("delete", "D"):
                await person.press(key)
                assert isinstance(person.screen, SessionsScreen)
            await noticed(person, "Esc stops it")
            await person.press("down", "delete")
            await person.until(lambda: isinstance(person.screen, ConfirmScreen))
            await back_on(person, "escape")
            await person.press("escape", "escape")
            await person.until(lambda: not person.busy)
        assert len(stage.sessions.recent()) == 2


async def test_of_a_private_session_nothing_is_stored_and_every_screen_says_so(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        private = list(person.screen.query("#private").results(Static))
        assert not private[0].display
        await look(person)
        await person.press("p")
        await person.until(lambda: private[0].display)
        assert "private" in str(private[0].content)
        await person.ask("hush")
        await person.press("ctrl+r", "c")
        assert person.app.clipboard == "yes"
        assert not (stage.folder / "cache").exists()
        await person.press("escape")
        for key in ("f2", "f4", "f9"):
            await person.press(key)
            await person.until(lambda: person.screen is not stage.app.chat_screen)
            assert person.screen.query_one("#private", Static).display
            await person.press("escape")
        assert stage.sessions.recent() == []
        assert stage.database.rows("SELECT * FROM answer") == []
        await person.press("f8")
        await person.until(lambda: not private[0].display)
        await person.ask("kept")
    assert [each.title for each in stage.sessions.recent()] == ["kept"]


class TestTrouble:
    async def test_with_a_locked_database_is_a_notice(self, make_stage: MakeStage) -> None:
        stage = make_stage(pieces=["yes"])
        keep(stage, "Lisbon", "Rain?")
        stage.database._connection.execute("PRAGMA busy_timeout=50")
        async with stage.app.run_test() as pilot:
            person = await Person(stage, pilot).ready()
            await look(person)
            other = sqlite3.connect(stage.database.path)
            other.execute("BEGIN IMMEDIATE")
            await person.press("down", "r", *"x")
            await back_on(person, "enter")
            await noticed(person, "in use by another process")
            await person.press("delete")
            await back_on(person, "y")
            await person.until(
                lambda: sum("in use by" in notice for notice in person.notices()) == 2
            )
            other.close()
            await person.press("r", *"y")
            await back_on(person, "enter")
            await person.until(lambda: titles(person)[-1] == "y")

    async def test_where_nothing_can_be_kept_the_screen_says_what_there_is(
        self, make_stage: MakeStage
    ) -> None:
        stage = make_stage(pieces=["yes"])
        stage.app._sessions = None
        async with stage.app.run_test() as pilot:
            person = await Person(stage, pilot).ready()
            await look(person)
            assert titles(person) == ["● New session"]
            await person.press("D", "delete", "escape")
            assert person.screen is stage.app.chat_screen


async def test_hostile_titles_and_texts_are_shown_without_what_a_terminal_obeys(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    keep(stage, "[/] \x1b[31mred\u202e", "needle \x1b]52;c;aGk=\x07 [/red] \x9b31m")
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await look(person)
        await person.press("down")
        shown = "".join(map("".join, rows(person))) + said(person, "#facts")
        await person.press("slash", *"needle")
        await person.until(lambda: rows(person) and rows(person)[0][1] == "You")
        shown += "".join(map("".join, rows(person))) + said(person, "#facts")
        assert "[/]" in shown
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(shown)
