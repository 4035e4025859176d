"""The settings screen: what it lists, what it takes, and that a change holds when it says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from stage import Person, Stage
from textual.widgets import Input, OptionList, Static, TextArea

from ondevice.domain.generation import Sampling
from ondevice.settings import SETTINGS
from ondevice.settings.kinds import Entries
from ondevice.tui import theme
from ondevice.tui.keymap import actions
from ondevice.tui.screens.edit import EditScreen
from ondevice.tui.screens.pick import PickScreen
from ondevice.tui.screens.settings import SettingsScreen

MakeStage = Callable[..., Stage]


def rows(person: Person) -> list[str]:
    options = person.screen.query_one("#settings", OptionList).options
    return [" ".join(str(option.prompt).split()) for option in options]


def row(person: Person, title: str) -> str:
    """The row of `title`, with its mark."""
    (found,) = [each for each in rows(person) if each.removeprefix("● ").split()[0] == title]
    return found


def said(person: Person, selector: str) -> str:
    return " ".join(str(person.screen.query_one(selector, Static).content).split())


async def look(person: Person, name: str = "model") -> None:
    """Open the screen, and put the cursor on `name`."""
    if not isinstance(person.screen, SettingsScreen):
        await person.press("f9")
        await person.until(lambda: isinstance(person.screen, SettingsScreen))
    options = person.screen.query_one("#settings", OptionList)
    await person.until(lambda: options.option_count)
    options.highlighted = options.get_option_index(name)
    await person.pilot.pause()


async def change(person: Person, name: str, value: str) -> None:
    """Type `value` as that of `name`, and keep it."""
    await look(person, name)
    await person.press("enter")
    await person.until(lambda: isinstance(person.screen, EditScreen))
    field = person.screen.query_one(Input)
    field.value = value
    await person.press("enter")
    await person.until(lambda: isinstance(person.screen, SettingsScreen))


async def pick(person: Person, name: str, *keys: str) -> None:
    """Choose for `name` what typing `keys` leaves."""
    await look(person, name)
    await person.press("enter")
    await person.until(lambda: isinstance(person.screen, PickScreen))
    await person.press(*keys, "enter")
    await person.until(lambda: isinstance(person.screen, SettingsScreen))


async def test_every_setting_and_every_key_is_a_row_with_its_value(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        await look(person)
        assert str(person.screen.query_one("#settings").border_subtitle) == "● 2 set in the file"
        names = [s.key for s in SETTINGS if not isinstance(s.kind, Entries)]
        for name in (*names, "presets", *actions()):
            assert row(person, name)
        assert row(person, "context") == "● context 2,048"
        assert row(person, "threads") == "threads follow the load"
        assert row(person, "watts") == "watts unknown"
        assert row(person, "app.help") == "app.help F1"


async def test_each_setting_is_explained_with_its_range_and_when_it_holds(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        for setting in SETTINGS:
            if not isinstance(setting.kind, Entries):
                await look(person, setting.name)
                assert setting.about in said(person, "#facts")
                assert setting.holds in said(person, "#facts")
        await look(person, "context")
        assert "2,048 (from the file) · the default is chosen by the engine" in said(
            person, "#facts"
        )
        assert "from the next load; F5 loads the model again" in said(person, "#facts")
        for name, words in [
            ("model", "a name of the catalogue, owner/name of a repository, or a path"),
            ("threads", "a whole number from 0 to 512; 0 means: follow the load"),
            ("theme", "one of the list that opens"),
            ("system", "any text"),
        ]:
            await look(person, name)
            assert f"may be {words}" in said(person, "#facts")


async def test_a_value_out_of_range_stays_in_its_field_with_what_is_wrong(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await look(person, "threads")
        await person.press("enter", "backspace", *"999", "enter")
        assert isinstance(person.screen, EditScreen)
        assert "threads must be a whole number from 0 to 512" in said(person, "#complaint")
        await person.press("backspace")
        assert said(person, "#complaint") == ""
        await person.press("enter")
        await person.until(lambda: isinstance(person.screen, SettingsScreen))
        assert row(person, "threads") == "● threads 99"
        assert stage.settings.read().settings.threads == 99


async def test_delete_goes_back_to_the_default(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await look(person, "max_tokens")
        await person.press("delete")
        assert row(person, "max_tokens") == "max_tokens 1,024"
        assert stage.settings.read().settings.max_tokens == 1024
        await look(person, "context")
        await person.press("delete")
        summary = person.screen.query_one("#settings").border_subtitle
        assert str(summary) == "all are the defaults"
        await person.press("escape")
        assert person.app.focused is person.composer


async def test_colours_hold_at_once_and_at_the_next_start(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await pick(person, "theme", *"dracula")
        await person.until(lambda: stage.app.theme == "dracula")
    assert stage.make_app("echo-model").theme == "dracula"


async def test_the_baseline_holds_at_once(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["word "], repeat=100)
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.ask("question")
        await pick(person, "baseline", *"dear")
        await person.until(lambda: "against     Cloud dear" in person.text("#panel"))
        await person.press("delete", "escape")
        await person.until(lambda: "against     Cloud small" in person.text("#panel"))


async def test_sampling_and_length_hold_from_the_next_answer(make_stage: MakeStage) -> None:
    asked: list[tuple[Sampling, int]] = []
    stage = make_stage(pieces=["word "], repeat=100)
    send = stage.chat.send

    def note(text: str, sampling: Sampling, max_tokens: int) -> Any:
        asked.append((sampling, max_tokens))
        return send(text, sampling, max_tokens)

    stage.chat.send = note  # type: ignore[method-assign]
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await change(person, "sampling.temperature", "0.2")
        await change(person, "max_tokens", "7")
        await person.press("escape")
        await person.ask("question")
        assert asked == [(Sampling(temperature=0.2), 7)]
        assert stage.stored()[-1].completion_tokens == 7


async def test_what_a_model_is_loaded_with_holds_after_the_key_that_is_named(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        assert "f5" not in person.screen.active_bindings
        await change(person, "context", "512")
        assert "F5 loads the model again" in person.notices()[-1]
        await person.press("escape")
        assert stage.chat.info is not None
        assert stage.chat.info.n_ctx == 2048
        assert person.screen.active_bindings["f5"].enabled
        await person.press("f5")
        await person.until(lambda: stage.chat.info and stage.chat.info.n_ctx == 512)
        await person.ready()
        assert "f5" not in person.screen.active_bindings


async def test_a_text_of_several_lines_is_kept_whole(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await look(person, "system")
        await person.press("enter", *"One.", "ctrl+j", *"Two.", "enter")
        await person.until(lambda: isinstance(person.screen, SettingsScreen))
        assert stage.settings.read().settings.system == "One.\nTwo."
        assert row(person, "system") == "● system One. Two."


async def test_a_preset_is_added_by_name_and_text_and_another_beside_it(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        await look(person, "presets")
        assert row(person, "presets") == "presets none"
        assert "Enter adds one." in said(person, "#facts")
        for name, text in (("tutor", "You teach."), ("my pirate", "Arr.")):
            await look(person, "presets")
            await person.press("enter")
            await person.until(lambda: person.screen.query(Input))
            await person.press(*name, "enter")
            await person.until(lambda: person.screen.query(TextArea))
            await person.press(*text, "enter")
            await person.until(lambda: isinstance(person.screen, SettingsScreen))
        presets = {"tutor": "You teach.", "my pirate": "Arr."}
        assert stage.settings.read().settings.presets == presets
        assert person.app.chat_screen.settings.presets == presets
        assert row(person, "presets") == "presets tutor, my pirate"
        assert row(person, "presets.tutor") == "● presets.tutor You teach."
        assert "4 set in the file" in str(person.screen.query_one("#settings").border_subtitle)
        await look(person, "presets.tutor")
        await person.press("delete")
        assert list(stage.settings.read().settings.presets) == ["my pirate"]


async def test_a_preset_without_a_name_or_with_one_that_is_taken_is_refused_in_place(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"], settings='[presets]\ntutor = "You teach."\n')
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await look(person, "presets")
        await person.press("delete")  # of all of them there is no default to go back to
        await person.press("enter", "enter")
        assert "it has no name yet" in said(person, "#complaint")
        await person.press(*"tutor ", "enter")
        assert "there is one called tutor" in said(person, "#complaint")
        await person.press("escape")
        assert stage.settings.path.read_text() == '[presets]\ntutor = "You teach."\n'


async def test_a_model_that_nobody_knows_is_refused_in_place(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await look(person, "model")
        await person.press("enter", *"x", "enter")
        assert "no model is called x" in said(person, "#complaint")
        person.screen.query_one(Input).value = "second-model"
        await person.press("enter")
        await person.until(lambda: isinstance(person.screen, SettingsScreen))
        assert stage.settings.read().settings.model == "second-model"
        assert person.notices() == []


async def test_a_model_that_is_not_here_yet_is_kept_and_said_to_be_missing(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await change(person, "model", "absent-model")
        assert stage.settings.read().settings.model == "absent-model"
        await person.until(person.notices)
        assert person.notices() == ["absent-model is not on this machine. Install it first."]


async def test_another_key_holds_at_once_and_is_named_everywhere(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        await change(person, "keymap.app.help", "f12")
        await change(person, "keymap.composer.send", "ctrl+t")
        await person.press("escape")
        assert "Ctrl+T sends it" in person.text("#welcome")
        assert "F12 lists the keys" in person.text("#welcome")
        assert "f1" not in person.screen.active_bindings
        await person.write("question")
        await person.press("enter")
        assert not person.busy
        await person.press("ctrl+t")
        await person.until(lambda: len(stage.stored()) == 2)
        await person.press("f12")
        terms = [str(each.content) for each in person.screen.query(".term").results(Static)]
        assert {"F12", "Ctrl+T"} <= set(terms)
        assert "F1" not in terms


@pytest.mark.parametrize(
    ("name", "keys", "complaint"),
    [
        ("app.help", "f2", "f2 is the key of app.models"),
        ("app.help", "f77", "no key is called f77"),
        ("chat.new", "x", "x would be typed"),
        ("chat.new", "ctrl+k", "ctrl+k is one of those that move and edit there"),
        ("chat.new", "ctrl+s", "ctrl+s stops the output"),
    ],
)
async def test_a_key_that_cannot_be_is_refused_in_place(
    name: str, keys: str, complaint: str, make_stage: MakeStage
) -> None:
    stage = make_stage(pieces=["yes"])
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await look(person, f"keymap.{name}")
        await person.press("enter")
        person.screen.query_one(Input).value = keys
        await person.press("enter")
        assert isinstance(person.screen, EditScreen)
        assert complaint in said(person, "#complaint")


FAULTY = """
thread = 3
theme = "nrod"
max_tokens = 9
[keymap]
"app.hlp" = "f12"
"app.models" = "f3"
"""


async def test_what_is_wrong_in_the_file_is_said_and_the_rest_holds(make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"], settings=FAULTY)
    async with stage.app.run_test(size=(120, 40)) as pilot:
        person = await Person(stage, pilot).ready()
        await person.until(lambda: len(person.notices()) == 3)
        places = [notice for notice in person.notices() if "settings.toml, [keymap]: " in notice]
        assert len(places) == 2
        assert stage.app.theme == theme.THEME.name
        assert person.screen.active_bindings["f3"].binding.id == "app.baseline"
        assert stage.app.chat_screen.settings.max_tokens == 9
        await look(person)
        for words in ("Did you mean threads?", "Did you mean nord?", "did you mean app.help?"):
            assert words in said(person, "#faults")
        assert row(person, "app.models") == "● app.models F2 (f3 is refused)"
        await look(person, "keymap.app.hlp")
        await person.press("delete")
        assert "app.hlp" not in said(person, "#faults")
        assert "app.hlp" not in stage.settings.read().settings.keymap


@pytest.mark.parametrize(
    ("content", "name", "value", "wrong"),
    [
        ("threads = [", "threads", "3", "is not TOML"),
        ("keymap = 'f5'\n", "keymap.app.help", "f12", "keymap must be a table"),
    ],
)
async def test_a_file_that_cannot_be_changed_is_shown_as_such_and_left_alone(
    make_stage: MakeStage, content: str, name: str, value: str, wrong: str
) -> None:
    stage = make_stage(pieces=["yes"], settings=content)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await look(person)
        assert wrong in said(person, "#faults")
        await change(person, name, value)
        await person.until(lambda: wrong in person.notices()[-1])
        assert stage.settings.path.read_text() == content


async def test_what_the_file_says_reaches_the_screen_without_escapes(
    make_stage: MakeStage,
) -> None:
    hostile = 'model = \'[/]\'\nsystem = "\\u001b[31m[/red]"\n"[/x]\\u001b" = 1\n'
    stage = make_stage(pieces=["yes"], settings=hostile)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await look(person, "system")
        assert "\x1b" not in "".join(
            [*rows(person), said(person, "#faults"), said(person, "#facts")]
        )
        assert "[31m[/red]" in said(person, "#facts")
        await person.press("enter")
        await person.until(lambda: isinstance(person.screen, EditScreen))
