"""What the picker lists: models, baselines, sessions."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from ondevice import units
from ondevice.domain.model import ModelSpec
from ondevice.domain.session import Session
from ondevice.tui.doors import Doors
from ondevice.tui.screens.pick import Choice


def of_models(doors: Doors) -> list[Choice]:
    """The catalogue, what can be used at once before the rest."""
    choices = [_of_model(spec, doors) for spec in doors.catalog().models]
    return sorted(choices, key=lambda choice: not choice.usable)


def of_baselines(doors: Doors) -> list[Choice]:
    """What costs can be compared with."""
    return [Choice(key, title, why) for key, title, why in doors.baselines()]


def of_sessions(stored: Iterable[Session]) -> list[Choice]:
    """Earlier sessions."""
    return [Choice(str(one.id), one.title, _when(one.created_at)) for one in stored]


def _of_model(spec: ModelSpec, doors: Doors) -> Choice:
    usable = spec.use != "embed" and doors.find(spec) is not None
    form = spec.files[0]
    size, parameters = units.size(form.size_bytes), units.short_count(spec.parameters)
    state = "here" if usable else ""
    detail = f"{parameters:>5} {form.quantization:<8} {size:>7}  {state:<4}  {spec.licence}"
    return Choice(spec.name, spec.name, detail, usable)


def _when(created_at: str) -> str:
    """The local time, to the minute."""
    try:
        return f"{datetime.fromisoformat(created_at).astimezone():%Y-%m-%d %H:%M}"
    except ValueError:
        return ""
