"""What costs are compared with: chosen from a list, looked up in a thread."""

from __future__ import annotations

from functools import partial
from typing import Any

from textual.app import App

from ondevice.chat import Chat
from ondevice.errors import OnDeviceError
from ondevice.tui import messages
from ondevice.tui.doors import Doors
from ondevice.tui.live import Live
from ondevice.tui.screens.pick import Choice, PickScreen


class Prices:
    """Those of the chat and of the meter are always of one baseline."""

    def __init__(self, app: App[Any], doors: Doors, chat: Chat, live: Live) -> None:
        self._app, self._doors, self._chat, self._live = app, doors, chat, live
        self._begun = False

    def find_first(self, key: str) -> None:
        """Look up a baseline, unless one was looked up before."""
        if not self._begun:
            self.find(key)

    def choose(self) -> None:
        """Have a person choose a baseline."""
        listed = of_baselines(self._doors)

        def chosen(key: str | None) -> None:
            if key is not None:
                self.find(key)

        self._app.push_screen(PickScreen("Compare costs with", listed, "Nothing matches."), chosen)

    def find(self, key: str) -> None:
        """Look up a baseline, the usual one where `key` is empty; the answer is posted."""
        self._begun = True
        # in a thread: the first look-up ever imports 220 ms of price tables
        look = partial(self._look_up, key or self._doors.baseline)
        self._app.run_worker(look, thread=True, exclusive=True, exit_on_error=False, group="prices")

    def use(self, found: messages.PriceFound) -> None:
        """They hold from now on."""
        self._chat.price = self._live.price = found.price
        self._live.frontier = found.frontier

    def _look_up(self, key: str) -> None:
        try:
            prices = self._doors.price(key), self._doors.price(self._doors.frontier)
            self._app.post_message(messages.PriceFound(*prices))
        except OnDeviceError as error:
            self._app.post_message(messages.PriceFailed(error))


def of_baselines(doors: Doors) -> list[Choice]:
    """What costs can be compared with."""
    return [Choice(key, title, why) for key, title, why in doors.baselines()]
