"""Which keys a person may choose, and why others are refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ondevice.errors import SettingsInvalid
from ondevice.tui import keymap

REFUSED = [
    ("app.hlp", "f12", "nothing is called app.hlp; did you mean app.help?"),
    ("pick.back", "f12", "nothing is called pick.back"),
    ("app.help", "esc", "no key is called esc; did you mean escape?"),
    ("app.help", "ctrl+pgup", "no key is called ctrl+pgup; did you mean ctrl+pageup?"),
    ("app.help", "", "write a key, such as f12"),
    ("app.help", "f12,", "write a key, such as f12"),
    ("app.help", "hyperspace+f1", "no key is called hyperspace+f1"),
    ("app.help", "ctrl+s", "ctrl+s stops the output"),
    ("app.help", "ctrl+q", "ctrl+q belongs to the flow control"),
    ("app.help", "ctrl+b", "ctrl+b belongs to tmux"),
    ("app.help", "tab", "tab moves the focus"),
    ("app.help", "ctrl+[", "ctrl+left_square_bracket is Escape to a terminal"),
    ("app.help", "ctrl+enter", "few terminals send ctrl+enter; add a key that all send"),
    ("app.help", "ctrl+tab,ctrl+shift+a", "few terminals send ctrl+tab,ctrl+shift+a"),
    ("app.help", "shift+ctrl+a", "few terminals send ctrl+shift+a"),
    ("composer.newline", "shift+enter", "few terminals send shift+enter"),
    ("composer.send", "shift+enter", "few terminals send shift+enter"),
    ("app.help", "return", "no key is called return"),
    ("app.help", "h", "h would be typed"),
    ("app.help", "alt+x", "alt+x would be typed"),
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
    {"composer.send": "shift+enter,ctrl+t", "composer.newline": "enter"},
    {"app.help": "ctrl+space"},
    {"app.help": "ctrl+enter,ctrl+]"},
    {"models.sort": "shift+x"},
    {"models.sort": "alt+x"},
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
