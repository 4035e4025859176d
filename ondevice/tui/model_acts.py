"""What is asked before something is done with a model, and what it then takes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from textual.screen import Screen

from ondevice.acquire import PullPlan
from ondevice.domain.text import clean_line
from ondevice.errors import OnDeviceError
from ondevice.tui import messages, model_rows
from ondevice.tui.doors import Doors
from ondevice.tui.downloads import Downloads
from ondevice.tui.screens.confirm import ConfirmScreen


class ModelActs:
    """What may wait for the disk or a hub is done in a thread; facts go to the screen."""

    def __init__(
        self, screen: Screen[Any], doors: Doors, downloads: Downloads, look: Callable[[], object]
    ) -> None:
        """`look` reads anew what there is."""
        self._screen, self._doors, self._downloads, self._look = screen, doors, downloads, look
        self._question: ConfirmScreen | None = None
        self._asked = ""
        """The row that the question is about."""

    def get(self, plan: PullPlan) -> None:
        """Download it, after a question; what it takes the hub may yet have to say."""
        download = self._downloads.get(model_rows.form(plan))
        if download is not None and download.state in ("queued", "running"):
            self._warn("It is being fetched; Space pauses it.")
            return

        def agreed(yes: bool | None) -> None:
            if yes:
                self._start(plan)

        asks = model_rows.can_be_judged(plan)
        shown = replace(plan, problem="the hub is being asked") if asks else plan
        self._asked = model_rows.key(plan)
        self._question = ConfirmScreen(*model_rows.question(shown))
        self._screen.app.push_screen(self._question, agreed)
        if asks:
            # No worker: the app would wait for it at its end, and a hub may never answer.
            threading.Thread(target=self._judge, args=(plan,), daemon=True).start()

    def show_judged(self, plan: PullPlan) -> None:
        """The hub has said what it takes."""
        if self._asked == model_rows.key(plan) and self._question is not None:
            self._question.show(model_rows.question(plan)[1])

    def pause(self, plan: PullPlan) -> None:
        """Pause its download, or go on with it."""
        download = self._downloads.get(model_rows.form(plan))
        if download is not None and download.state in ("queued", "running"):
            self._downloads.pause(download.form)
        elif download is not None and download.state in ("paused", "failed"):
            self._start(plan)

    def remove(self, plan: PullPlan) -> None:
        """Delete its files, after a question."""
        download = self._downloads.get(model_rows.form(plan))
        reason = model_rows.why_not_removable(plan, download)
        if reason:
            self._warn(reason)
            return

        def agreed(yes: bool | None) -> None:
            if yes:
                self._in_thread(partial(self._delete, plan), "shelf")

        self._screen.app.push_screen(ConfirmScreen(*model_rows.farewell(plan, download)), agreed)

    def _start(self, plan: PullPlan) -> None:
        self._in_thread(partial(self._accept_and_add, plan), "start")

    # In threads

    def _judge(self, plan: PullPlan) -> None:
        judged = self._doors.judge(plan)
        with contextlib.suppress(RuntimeError):  # the app has ended meanwhile
            self._screen.post_message(messages.PlanJudged(judged))

    def _accept_and_add(self, plan: PullPlan) -> None:
        try:
            if plan.terms is not None:
                self._doors.accept_terms(plan.terms)
        except OnDeviceError as error:
            self._screen.post_message(messages.ShelfRead([], error))
        else:
            self._downloads.add(model_rows.form(plan))

    def _delete(self, plan: PullPlan) -> None:
        self._downloads.forget(model_rows.form(plan))
        try:
            freed = self._doors.remove(plan)
        except OnDeviceError as error:
            self._screen.post_message(messages.ShelfRead([], error))
        else:
            self._screen.post_message(messages.ModelDeleted(plan, freed))
        self._look()

    def _in_thread(self, act: Callable[[], None], group: str) -> None:
        self._screen.run_worker(act, thread=True, exit_on_error=False, group=group)

    def _warn(self, words: str) -> None:
        self._screen.notify(clean_line(words, 300), severity="warning", markup=False)
