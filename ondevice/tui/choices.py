"""What the picker lists: baselines."""

from __future__ import annotations

from ondevice.tui.doors import Doors
from ondevice.tui.screens.pick import Choice


def of_baselines(doors: Doors) -> list[Choice]:
    """What costs can be compared with."""
    return [Choice(key, title, why) for key, title, why in doors.baselines()]
