"""A view that stays at its end while it grows, until somebody scrolls up."""

from __future__ import annotations

from textual.containers import VerticalScroll


class Tail(VerticalScroll):
    """A scroll view whose end is kept in sight."""

    def __init__(self, id: str, can_focus: bool) -> None:
        super().__init__(id=id, can_focus=can_focus)
        self._follow = False
        """The end is to be kept in view as soon as there is more than the view has room for."""

    def keep_end(self) -> None:
        """Go to the end, and stay there until somebody scrolls up."""
        self._follow = True
        self.call_after_refresh(self.follow)

    def leave_end(self) -> None:
        """Do not go there after all."""
        self._follow = False

    def follow(self) -> None:
        """Anchor once a turn: scrolling up releases it, and must not be undone.

        An anchor in a view that is not full scrolls it to a negative offset (Textual 8.2).
        """
        if self.scroll_y < 0:
            self.anchor(False)
            self.scroll_home(animate=False, force=True, immediate=True)
            self._follow = True
        if self._follow and self.max_scroll_y > 0:
            self.anchor()
            self._follow = False

    def watch_virtual_size(self) -> None:
        """The last words of an answer may be the first that overflow."""
        if self._follow:
            self.call_after_refresh(self.follow)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if new_value < 0:  # the last words of an answer took fewer rows than were held for them
            self.call_after_refresh(self.follow)

    def on_resize(self) -> None:
        """What was full before may not be any more."""
        self.call_after_refresh(self.follow)
