"""What a person chose to keep: `settings.toml` in the config folder.

definition.py   every setting, once: default, range, unit, what it is, when it holds
kinds.py        what values there are: checked, typed in, shown
file.py         reading with what is wrong in it; changing one value
toml.py         the text of the file: comments, order and formatting stay
"""

from ondevice.settings.definition import SETTINGS, Setting, Settings, find, strayed, typed
from ondevice.settings.file import Reading, SettingsFile, Trouble

__all__ = [
    "SETTINGS",
    "Reading",
    "Setting",
    "Settings",
    "SettingsFile",
    "Trouble",
    "find",
    "strayed",
    "typed",
]
