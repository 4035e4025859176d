"""The one palette."""

from __future__ import annotations

from textual.theme import Theme

THEME = Theme(
    name="ondevice",
    primary="#7aa2f7",
    secondary="#9ece6a",
    accent="#e0af68",
    warning="#e0af68",
    error="#f7768e",
    success="#9ece6a",
    foreground="#c8d0e8",
    background="#14161f",
    surface="#1a1d29",
    panel="#232737",
    dark=True,
)
