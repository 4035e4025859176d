"""The keys that the help lists are those that work, on every screen, also when they are others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stage import Person, Stage
from textual.binding import Binding
from textual.screen import ModalScreen, Screen
from textual.widgets import DataTable, Static

from ondevice.errors import SettingsInvalid
from ondevice.tui import keymap
from ondevice.tui.screens.confirm import ConfirmScreen
from ondevice.tui.screens.costs import CostsScreen
from ondevice.tui.screens.edit import EditScreen
from ondevice.tui.screens.help import HelpScreen
from ondevice.tui.screens.link import LinkScreen
from ondevice.tui.screens.models import ModelsScreen
from ondevice.tui.screens.pick import Choice, PickScreen
from ondevice.tui.screens.sessions import SessionsScreen
from ondevice.tui.screens.settings import SettingsScreen
from ondevice.tui.widgets.keys import as_written

MakeStage = Callable[..., Stage]

OTHERS = """
[keymap]
app.help = "f12"
app.models = "alt+m"
app.settings = "f11"
composer.send = "ctrl+t"
composer.newline = "enter, ctrl+j"
composer.page_up = "ctrl+g"
chat.stop = "f6x"
chat.new = "ctrl+n,f8"
models.take = "t"
models.sort = "/"
models.filter = "?"
models.back = "q"
settings.change = "c"
settings.back = "q"
sessions.open = "o"
sessions.remove_all = "X"
costs.group = "x"
"""
"""One of these is no key. `models.sort` takes what `models.filter` leaves."""


Said = set[tuple[str, str]]
"""Keys, as they are written, with what they do; some do other things in other places."""


def listed(person: Person) -> Said:
    """What the help that is open says of each key, but for Ctrl+C.

    That one copies first; without a selection the text area and the screen pass it on.
    """
    assert isinstance(person.screen, HelpScreen)
    abouts = {action.about for action in keymap.actions().values()}
    said = set()
    for row in person.screen.query("#help Horizontal"):
        term, words = (str(each.content) for each in row.query(Static).results(Static))
        if words in abouts:
            said |= {(key, words) for key in term.split(", ")}
    interrupt = ("Ctrl+C", keymap.actions()["app.interrupt"].about)
    assert interrupt in said
    return said - {interrupt}


def working(person: Person) -> Said:
    """What our keys do where the focus is, as the bindings reach them."""
    return {
        (as_written(key), keymap.actions()[active.binding.id].about)
        for key, active in person.screen.active_bindings.items()
        if active.binding.id
    }


async def pressed(person: Person) -> None:
    """Press every named key: what it does is asked for, by nobody before it."""
    asked: list[str] = []

    async def note(action: Any, default_namespace: Any = None, namespaces: Any = None) -> bool:
        asked.append(str(action))
        return True

    expected = {
        key: active.binding.action
        for key, active in person.screen.active_bindings.items()
        if active.binding.id and active.binding.id not in ("composer.send", "composer.newline")
    }
    run_action = person.app.run_action
    person.app.run_action = note  # type: ignore[method-assign]
    for key, action in expected.items():
        asked.clear()
        await person.press(key)
        assert asked == [action], key
    person.app.run_action = run_action  # type: ignore[method-assign]


def help_key(person: Person) -> str:
    return "f12" if "app.help" in person.app.keys else "f1"


@pytest.mark.parametrize("chosen", ["", OTHERS], ids=["usual", "others"])
async def test_in_the_chat(chosen: str, make_stage: MakeStage) -> None:
    said = ["<think>a</think>", *["word "] * 900]
    stage = make_stage(pieces=said, delay_s=0.02, signal_at=40, settings=chosen)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        assert bool(person.app.keys) is bool(chosen)
        await pressed(person)
        await person.write("question")
        await person.press("ctrl+t" if chosen else "enter")
        await person.until(lambda: person.busy)
        works = working(person)  # Stop is among them
        await person.until(lambda: not person.busy)
        works |= working(person)  # Reload is, as the engine was killed
        await person.press("ctrl+r")
        for _ in range(2):  # the answer, then the question
            await person.press("up")
            await pressed(person)
            works |= working(person)
        await person.press("ctrl+f")
        await pressed(person)
        works |= working(person)
        await person.press(help_key(person))
        assert listed(person) == works


@pytest.mark.parametrize("chosen", ["", OTHERS], ids=["usual", "others"])
async def test_in_the_models(chosen: str, make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"], settings=chosen)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.press("alt+m" if chosen else "f2")
        await person.until(lambda: isinstance(person.screen, ModelsScreen))
        await person.until(lambda: isinstance(person.app.focused, DataTable))
        await pressed(person)
        works = working(person)
        await person.press(help_key(person))
        assert listed(person) == works


@pytest.mark.parametrize("chosen", ["", OTHERS], ids=["usual", "others"])
async def test_in_the_settings(chosen: str, make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"], settings=chosen)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.press("f11" if chosen else "f9")
        await person.until(lambda: isinstance(person.screen, SettingsScreen))
        await pressed(person)
        works = working(person)
        await person.press(help_key(person))
        assert listed(person) == works


@pytest.mark.parametrize("chosen", ["", OTHERS], ids=["usual", "others"])
@pytest.mark.parametrize(("key", "kind"), [("f4", SessionsScreen), ("ctrl+l", CostsScreen)])
async def test_in_the_sessions_and_the_costs(
    key: str, kind: type[Screen[Any]], chosen: str, make_stage: MakeStage
) -> None:
    stage = make_stage(pieces=["yes"], settings=chosen)
    stage.sessions.create("here")
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        await person.press(key)
        await person.until(lambda: isinstance(person.screen, kind))
        table = person.screen.query_one(DataTable)
        table.display = True  # the costs have none, as nothing was counted
        table.focus()
        await person.until(lambda: person.app.focused is table)
        await pressed(person)
        works = working(person)
        await person.press(help_key(person))
        assert listed(person) == works


@pytest.mark.parametrize(
    "dialog",
    [
        lambda: PickScreen("one", [Choice("a", "a", "")], "none"),
        lambda: ConfirmScreen("sure?", [("a", "b")], "does"),
        lambda: LinkScreen("https://example.com"),
        lambda: EditScreen("name", "about", "text", lambda text: None, prose=False),
        lambda: EditScreen("name", "about", "text", lambda text: None, prose=True),
        lambda: HelpScreen([], ()),
    ],
    ids=["pick", "confirm", "link", "edit", "edit-lines", "help"],
)
async def test_in_a_dialog_its_keys_work_whatever_was_chosen(
    dialog: Callable[[], ModalScreen[Any]], make_stage: MakeStage
) -> None:
    stage = make_stage(pieces=["yes"], settings=OTHERS)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        screen = dialog()
        await person.app.push_screen(screen)
        reached = {key: found.binding.id for key, found in screen.active_bindings.items()}
        for binding in screen.BINDINGS:
            assert isinstance(binding, Binding)
            for one in Binding.make_bindings([binding]):
                assert reached[one.key] == one.id
        await person.press("escape")
        await person.until(lambda: person.screen is person.app.chat_screen)


REFUSED = [
    ("app.hlp", "f12", "nothing is called app.hlp; did you mean app.help?"),
    ("pick.back", "f12", "nothing is called pick.back"),
    ("app.help", "esc", "no key is called esc; did you mean escape?"),
    ("app.help", "ctrl+pgup", "no key is called ctrl+pgup; did you mean ctrl+pageup?"),
    ("app.help", "", "no key is called nothing"),
    ("app.help", "f12,", "no key is called nothing"),
    ("app.help", "hyperspace+f1", "no key is called hyperspace+f1"),
    ("app.help", "ctrl+s", "ctrl+s stops the output"),
    ("app.help", "ctrl+q", "ctrl+q belongs to the flow control"),
    ("app.help", "ctrl+b", "ctrl+b belongs to tmux"),
    ("app.help", "tab", "tab moves the focus"),
    ("app.help", "h", "h would be typed"),
    ("app.help", "?", "question_mark would be typed"),
    ("app.help", "space", "space would be typed"),
    ("chat.new", "f7", "f7 is one of those that move and edit there"),
    ("chat.new", "home", "home is one of those that move and edit there"),
    ("models.sort", "down", "down is one of those that move and edit there"),
    ("app.help", "F2", "f2 is the key of app.models"),
    ("app.models", "s", "s would be typed"),
    ("chat.new", "f12,f3", "f3 is the key of app.baseline"),
    ("models.sort", "space", "space is the key of models.pause"),
    ("models.sort", "f10", "f10 is the key of app.quit"),
]


@pytest.mark.parametrize(
    ("name", "keys", "reason"), REFUSED, ids=[f"{n}={k}" for n, k, _ in REFUSED]
)
def test_a_key_that_would_be_dead_or_take_another_is_refused(
    name: str, keys: str, reason: str
) -> None:
    good, refused = keymap.accept({name: keys})
    assert good == {}
    assert reason in refused[name]
    with pytest.raises(SettingsInvalid) as caught:
        keymap.refuse(name, keys, {})
    assert caught.value.hint


ACCEPTED = [
    {"app.help": "f12"},
    {"app.help": "F3", "app.baseline": "F1"},
    {"app.help": "F2", "app.models": "F1", "models.back": "escape"},
    {"app.models": "f12", "chat.new": "f2"},
    {"models.sort": "x", "settings.change": "x"},
    {"models.filter": "s", "models.sort": "/"},
    {"composer.send": "shift+enter", "composer.newline": "enter"},
    {"app.help": "f1"},
    {"app.help": "ctrl+t,f12"},
]


@pytest.mark.parametrize("wanted", ACCEPTED, ids=str)
def test_keys_may_be_exchanged_and_shared_by_screens_that_never_meet(
    wanted: dict[str, str],
) -> None:
    good, refused = keymap.accept(wanted)
    assert refused == {}
    assert set(good) == set(wanted)


def test_of_two_that_want_one_key_the_later_is_refused() -> None:
    good, refused = keymap.accept({"app.help": "f12", "chat.new": "f12"})
    assert good == {"app.help": "f12"}
    assert refused == {"chat.new": "chat.new: f12 is the key of app.help"}


NAMES = st.sampled_from(sorted(keymap.actions()))
KEYS = st.sampled_from(
    ["f1", "f2", "f9", "f12", "escape", "enter", "ctrl+t", "ctrl+j", "q", "/", "delete", "up", "no"]
)


@settings(deadline=None)
@given(wanted=st.dictionaries(NAMES, st.lists(KEYS, min_size=1, max_size=3).map(",".join)))
def test_whatever_is_wanted_no_key_does_two_things_on_one_screen(wanted: dict[str, str]) -> None:
    good, refused = keymap.accept(wanted)
    assert set(good) | set(refused) == set(wanted)
    assert not set(good) & set(refused)
    every = keymap.actions().values()
    for one in every:
        for other in every:
            met = one.screen == other.screen or keymap.EVERYWHERE in (one.screen, other.screen)
            if met and one.id < other.id:
                usual = set(one.keys.split(",")) & set(other.keys.split(","))
                mine = set(good.get(one.id, one.keys).split(","))
                theirs = set(good.get(other.id, other.keys).split(","))
                assert mine & theirs <= usual
