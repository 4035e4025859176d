"""The keys that the help or a frame lists are those that work, on every screen, also when they are
others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, NamedTuple

import pytest
from stage import Person, Stage
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import DataTable, Input, OptionList, Static

from ondevice.chat import Chat
from ondevice.tui import app, keymap, screens, widgets
from ondevice.tui.screens.confirm import ConfirmScreen
from ondevice.tui.screens.edit import EditScreen
from ondevice.tui.screens.help import HelpScreen
from ondevice.tui.screens.link import LinkScreen
from ondevice.tui.screens.pick import Choice, PickScreen
from ondevice.tui.screens.room import RoomScreen
from ondevice.tui.widgets.keys import as_written

MakeStage = Callable[..., Stage]

OTHERS = """
[keymap]
app.help = "f12"
app.models = "ctrl+]"
app.sessions = "ctrl+space"
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
sessions.remove_all = "shift+x"
costs.group = "x"
"""
"""One of these is no key. `models.sort` takes what `models.filter` leaves."""

SAID = ["<think>a</think>", *["word "] * 900]
SCRIPT = {"pieces": SAID, "delay_s": 0.02, "signal_at": 40}
"""An answer with thinking, in whose middle the engine is killed."""

Said = set[tuple[str, str]]
"""Keys, as they are written, with what they do; some do other things in other places."""


# How to come to each place, from the one before it; the keys are those of the help's name there.


async def answering(person: Person) -> None:
    await person.write("question")
    await person.press(key("composer.send", person))
    await person.until(lambda: person.busy)


async def without_engine(person: Person) -> None:
    await person.until(lambda: not person.busy)


async def reading(person: Person) -> None:
    await person.press("ctrl+r")


async def reading_before(person: Person) -> None:
    await person.press("up")


async def finding(person: Person) -> None:
    await person.press("ctrl+f")
    await person.until(lambda: isinstance(person.app.focused, Input))


def screen(action: str, kind: type[DataTable[Any] | OptionList]) -> Callable[..., Awaitable[None]]:
    async def there(person: Person) -> None:
        await person.press(key(action, person))
        await person.until(lambda: person.screen.query(kind))
        found = person.screen.query_one(kind)
        found.display = True  # the costs have none, as nothing was counted
        found.focus()
        await person.until(lambda: person.app.focused is found)

    return there


async def here(person: Person) -> None:
    """Where one begins."""


PLACES = {
    "chat": {
        "writing": here,
        "answering": answering,
        "without an engine": without_engine,
        "reading the trouble": reading,
        "reading an answer": reading_before,
        "reading a question": reading_before,
        "finding": finding,
    },
    "models": {"models": screen("app.models", DataTable)},
    "sessions": {"sessions": screen("app.sessions", DataTable)},
    "costs": {"costs": screen("app.costs", DataTable)},
    "settings": {"settings": screen("app.settings", OptionList)},
}
"""By the screen whose help lists the keys of all of them."""


def key(action: str, person: Person) -> str:
    keys = person.app.keys.get(action, keymap.actions()[action].keys)
    return keys.partition(",")[0]


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
        if not person.app._check_action_state(str(action), default_namespace):
            return False  # another one of the same key holds
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


@pytest.mark.parametrize("chosen", ["", OTHERS], ids=["usual", "others"])
@pytest.mark.parametrize("name", PLACES)
async def test_the_help_lists_the_keys_that_work_and_no_others(
    name: str, chosen: str, make_stage: MakeStage
) -> None:
    stage = make_stage(**SCRIPT, settings=chosen)
    stage.sessions.create("here")
    works: Said = set()
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        assert bool(person.app.keys) is bool(chosen)
        for place, go in PLACES[name].items():
            await go(person)
            works |= working(person)
            if place != "answering":  # it would be over
                await pressed(person)
        await person.press(key("app.help", person))
        await person.until(lambda: isinstance(person.screen, HelpScreen))
        assert listed(person) == works


@pytest.mark.parametrize("chosen", ["", OTHERS], ids=["usual", "others"])
async def test_the_keys_that_send_and_break_the_line_do(chosen: str, make_stage: MakeStage) -> None:
    stage = make_stage(pieces=["yes"], settings=chosen)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        bound = person.screen.active_bindings.items()
        sends, breaks = (
            [key for key, active in bound if active.binding.id == f"composer.{name}"]
            for name in ("send", "newline")
        )
        assert sends
        assert breaks
        for one in breaks:
            await person.press(one)
        assert person.composer.text == "\n" * len(breaks)
        person.composer.text = ""
        for number, one in enumerate(sends, start=1):
            await person.write("question")
            await person.press(one)
            await person.until(lambda n=number: len(person.bubbles()) == 2 * n and not person.busy)


class Dialog(NamedTuple):
    """One that a person meets; its keys stay what they are, and its frame names them."""

    name: str
    make: Callable[[], ModalScreen[Any]]
    frame: dict[str, str]
    """What the frame calls a key, and the key."""
    returns: dict[str, object]
    """What comes of keys that are pressed one after the other."""


def _take(_: str) -> None:
    """Anything will do."""


DIALOGS = [
    Dialog(
        "pick",
        lambda: PickScreen("one", [Choice("a", "a", ""), Choice("b", "b", "")], "none"),
        {"Enter": "enter", "Esc": "escape"},
        {"enter": "a", "down enter": "b", "down up enter": "a", "escape": None},
    ),
    Dialog(
        "confirm",
        lambda: ConfirmScreen("sure?", [("a", "b")], "does"),
        {"Y": "y", "Esc": "escape"},
        {"y": True, "Y": True, "n": False, "N": False, "escape": False, "enter escape": False},
    ),
    Dialog(
        "link",
        lambda: LinkScreen("gopher://example.com"),  # not opened, so it does not say that O does
        {"C": "c", "Esc": "escape"},
        {"c": None, "escape": None, "o escape": None},
    ),
    Dialog(
        "edit",
        lambda: EditScreen("name", "about", "text", _take, prose=False),
        {"Enter": "enter", "Esc": "escape"},
        {"enter": "text", "end x enter": "textx", "escape": None},
    ),
    Dialog(
        "edit-lines",
        lambda: EditScreen("name", "about", "text", _take, prose=True),
        {"Enter": "enter", "Ctrl+J": "ctrl+j", "Esc": "escape"},
        {"enter": "text", "ctrl+j enter": "text\n", "shift+enter enter": "text\n", "escape": None},
    ),
    Dialog(
        "help",
        lambda: HelpScreen([], ()),
        {"↑↓": "down", "Esc": "escape"},
        {"escape": None, "f1": None, "q": None, "down up escape": None},
    ),
    Dialog(
        "room",
        lambda: RoomScreen(Chat(None), ""),  # without ways, of which `test_room.py` chooses some
        {"Enter": "enter", "Esc": "escape"},
        {"enter escape": None, "escape": None},
    ),
]
UNNAMED = {"pick.down", "pick.up"}
"""Arrow keys move in every list."""


@pytest.mark.parametrize("dialog", DIALOGS, ids=lambda dialog: dialog.name)
async def test_a_dialog_names_its_keys_and_they_work_whatever_was_chosen(
    dialog: Dialog, make_stage: MakeStage
) -> None:
    stage = make_stage(pieces=["yes"], settings=OTHERS)
    async with stage.app.run_test() as pilot:
        person = await Person(stage, pilot).ready()
        for keys, result in dialog.returns.items():
            results: list[object] = []
            shown = dialog.make()
            await person.app.push_screen(shown, results.append)
            await person.until(lambda: shown.query("*"))  # noqa: B023 - waited for here
            await person.press(*keys.split())
            await person.until(lambda: results)  # noqa: B023
            assert results == [result], keys
            await person.until(lambda: person.screen is person.app.chat_screen)
        await person.app.push_screen(shown := dialog.make())
        frame = next(box for box in shown.query("*") if isinstance(box, Vertical | VerticalScroll))
        assert [part.split()[0] for part in str(frame.border_subtitle).split(" · ")] == [
            *dialog.frame
        ]
        pressed_keys = {each for keys in dialog.returns for each in keys.split()}
        reached = {key: found.binding.id for key, found in shown.active_bindings.items()}
        for binding in shown.BINDINGS:
            assert isinstance(binding, Binding)
            keys = [one.key for one in Binding.make_bindings([binding])]
            assert {reached[one] for one in keys} == {binding.id}
            assert set(keys) <= pressed_keys
            assert binding.id in UNNAMED or "o" in keys or set(keys) & set(dialog.frame.values())
        assert set(dialog.frame.values()) <= pressed_keys


def ours() -> Iterator[type]:
    """Every class that may bind keys."""
    yield app.OnDeviceApp
    for package in (widgets, screens):
        for module in iter_modules(package.__path__, f"{package.__name__}."):
            for kind in vars(import_module(module.name)).values():
                if isinstance(kind, type) and kind.__module__ == module.name:
                    yield kind


def test_every_screen_is_above() -> None:
    assert {type(dialog.make()) for dialog in DIALOGS} == {
        kind for kind in ours() if issubclass(kind, ModalScreen)
    }
    places = {place.partition(" ")[0] for each in PLACES.values() for place in each}
    assert set(keymap.FOCUSED) - {keymap.EVERYWHERE, keymap.CHAT} <= places


@pytest.mark.parametrize("kind", list(ours()), ids=lambda kind: kind.__name__)
def test_every_key_that_is_bound_has_a_name_by_which_it_is_listed(kind: type) -> None:
    for binding in vars(kind).get("BINDINGS", ()):
        assert isinstance(binding, Binding)
        assert binding.id
        about = binding.tooltip or binding.id in ("settings.change", *UNNAMED)
        assert about or issubclass(kind, DataTable)
