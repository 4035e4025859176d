"""What the picker lists: baselines and sessions."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from ondevice.domain.session import Session
from ondevice.tui.doors import Doors
from ondevice.tui.screens.pick import Choice


def of_baselines(doors: Doors) -> list[Choice]:
    """What costs can be compared with."""
    return [Choice(key, title, why) for key, title, why in doors.baselines()]


def of_sessions(stored: Iterable[Session]) -> list[Choice]:
    """Earlier sessions."""
    return [Choice(str(one.id), one.title, _when(one.created_at)) for one in stored]


def _when(created_at: str) -> str:
    """The local time, to the minute."""
    try:
        return f"{datetime.fromisoformat(created_at).astimezone():%Y-%m-%d %H:%M}"
    except ValueError:
        return ""
