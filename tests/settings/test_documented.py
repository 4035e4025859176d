"""docs/settings.md says what the definition says."""

from __future__ import annotations

from pathlib import Path

import pytest

from ondevice.settings import SETTINGS, Setting
from ondevice.settings.kinds import Entries
from ondevice.tui.keymap import RESERVED, actions

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")


def documented(setting: Setting) -> str:
    """The row of `setting`; on failure, the one to put there."""
    default = setting.show({} if isinstance(setting.kind, Entries) else setting.default)
    about = setting.about
    return f"| `{setting.name}` | {default} | {setting.kind.words} | {setting.holds} | {about} |"


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_setting_has_its_row(setting: Setting) -> None:
    assert documented(setting) in PAGE.splitlines()


def test_nothing_else_has_one() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `") and line.count("|") == 6]
    assert rows == [documented(setting) for setting in SETTINGS]


def test_every_action_that_may_have_another_key_is_named() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `") and line.count("|") == 4]
    assert rows == [
        f"| `{action.id}` | {action.keys.replace(',', ', ')} | {action.about} |"
        for action in actions().values()
    ]


def test_every_key_that_is_kept_free_is_named() -> None:
    assert [key for key in RESERVED if f"`{key}`" not in PAGE] == []
