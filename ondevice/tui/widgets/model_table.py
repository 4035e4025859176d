"""The table of models: its words are untrusted, and its Enter is named in the last line."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

from ondevice.domain.text import clean


class ModelTable(DataTable[Text]):
    """Rows of cells made by `cell`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "Use or get", id="models.take")
    ]


def cell(words: str) -> Text:
    """Untrusted words as one cell: as a string they would be read as markup."""
    return Text(clean(words).replace("\n", " "), no_wrap=True, overflow="ellipsis")
