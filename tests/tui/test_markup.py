"""What people and files name is shown as it is: nothing of it is read as Textual's markup."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from kept_sessions import keep, look
from stage import SETTINGS, Person, Stage
from textual.widgets import OptionList

from ondevice.tui.screens.confirm import ConfirmScreen
from ondevice.tui.screens.edit import EditScreen
from ondevice.tui.screens.settings import SettingsScreen

MakeStage = Callable[..., Stage]
NAMES = {"a closing tag": "What closes [/b] here?", "an action": "[@click=app.quit]x"}


def painted(person: Person) -> str:
    """The screen as a person sees it."""
    return "\n".join(strip.text for strip in person.screen._compositor.render_strips())


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
async def test_the_title_of_a_session_that_is_to_be_deleted(
    make_stage: MakeStage, name: str
) -> None:
    stage = make_stage(pieces=["yes"])
    keep(stage, name, "Rain?", "Perhaps.")
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await look(person)
        await person.press("down", "delete")
        await person.until(lambda: isinstance(person.screen, ConfirmScreen))
        await pilot.pause()
        assert f"Delete {name}?" in painted(person)
        await person.press("y")
        await person.until(lambda: not stage.sessions.recent())


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
async def test_the_name_of_a_setting_that_is_changed(make_stage: MakeStage, name: str) -> None:
    preset = f'[presets]\n"{name}" = "Be brief."\n'
    stage = make_stage(settings=f"{SETTINGS}{preset}")
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.press("f9")
        await person.until(lambda: isinstance(person.screen, SettingsScreen))
        rows = person.screen.query_one(OptionList)
        rows.highlighted = rows.get_option_index(f"presets.{name}")
        await person.press("enter")
        await person.until(lambda: isinstance(person.screen, EditScreen))
        await pilot.pause()
        assert name in painted(person)


async def test_the_file_of_the_settings(make_stage: MakeStage) -> None:
    stage = make_stage()
    stage.settings.path = stage.settings.path.with_name("[@click=app.quit]x.toml")
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.press("f9")
        await person.until(lambda: isinstance(person.screen, SettingsScreen))
        await pilot.pause()
        assert stage.settings.path.name in painted(person)
