"""Every key of the screen below, and what the numbers mean."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from ondevice.domain import cost, metrics
from ondevice.tui.widgets import meter
from ondevice.tui.widgets.numbers import NOT_YET

_TERM = re.compile(r"^(\S.*?) {2,}(\S.*(?:\n {3,}\S.*)*)$", re.MULTILINE)
"""`name   what it is`, as the modules that own a number define it, over one line or more."""


Numbers = tuple[ModuleType, ...]
CHAT_NUMBERS: Numbers = (metrics, cost, meter)
"""Modules whose docstrings define what the chat shows."""


class HelpScreen(ModalScreen[None]):
    """Keys and definitions."""

    CSS_PATH = "../styles/help.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f1,q", "dismiss", "Back", id="help.back", tooltip="Leave the help."),
    ]

    def __init__(self, bindings: list[Binding], numbers: Numbers, loaded: str = "") -> None:
        """`loaded` says how the model was, where there is one."""
        super().__init__()
        self._listed, self._numbers, self._loaded = bindings, numbers, loaded

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help") as box:
            box.border_title = "Help"
            box.border_subtitle = "↑↓ scroll · Esc goes back"
            yield Static("Keys", classes="heading")
            for binding in self._listed:
                yield _row(self._keys(binding), binding.tooltip or binding.description)
            if self._loaded:
                yield Static("The model", classes="heading")
                yield _row("loaded", self._loaded)
            yield Static("What the numbers mean", classes="heading")
            for term, words in definitions(self._numbers):
                yield _row(term, words)

    def _keys(self, binding: Binding) -> str:
        each = Binding.make_bindings([binding])
        return ", ".join(dict.fromkeys(self.app.get_key_display(one) for one in each))


def named_bindings(*sources: type, keys: Mapping[str, str]) -> list[Binding]:
    """The keys that have a name, of screens and widgets; `keys` are those that were changed."""
    every = [binding for source in sources for binding in getattr(source, "BINDINGS", ())]
    named = [each for each in every if isinstance(each, Binding) and each.id]
    once: dict[str | None, Binding] = {}
    for each in named:  # one that says why it does nothing here has the name of what it does
        once.setdefault(each.id, each)
    return [each.with_key(keys.get(each.id or "", each.key)) for each in once.values()]


def definitions(numbers: Numbers = CHAT_NUMBERS) -> Iterator[tuple[str, str]]:
    """Each number with its definition, from the modules that own them."""
    for module in numbers:
        for term, words in _TERM.findall(module.__doc__ or ""):
            yield term, " ".join(words.split())
    yield NOT_YET, "not yet: there is no such number of this turn"
    yield "unknown", "it cannot be known here, such as the rate of a single token"


def _row(term: str, words: str) -> Horizontal:
    return Horizontal(
        Static(Content(term), classes="term"), Static(Content(words), classes="words")
    )
