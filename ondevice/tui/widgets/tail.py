"""A view that stays at its end while it grows, until somebody scrolls up."""

from __future__ import annotations

from textual.containers import VerticalScroll


class Tail(VerticalScroll):
    """A scroll view whose end is kept in sight."""

    def __init__(self, id: str, can_focus: bool) -> None:
        super().__init__(id=id, can_focus=can_focus)
        self._follow = False
        """The end is to be kept in view as soon as there is more than the view has room for."""

    def on_mount(self) -> None:
        # Not by watching sizes and offsets: an anchor changes the offset past all watchers.
        self.screen.screen_layout_refresh_signal.subscribe(self, lambda _screen: self.follow())

    def keep_end(self) -> None:
        """Go to the end, and stay there until somebody scrolls up."""
        self._follow = True
        self.call_after_refresh(self.follow)

    def leave_end(self) -> None:
        """Do not go there after all."""
        self._follow = False

    def follow(self) -> None:
        """Anchor once a turn: scrolling up releases it, and must not be undone.

        An anchor in a view that is not full scrolls it to a negative offset (Textual 8.2), such as
        when the last words of an answer take fewer rows than were held for them.
        """
        if self.scroll_y < 0:
            self.anchor(False)
            self.scroll_home(animate=False, force=True, immediate=True)
            self._follow = True
        if self._follow and self.max_scroll_y > 0:
            self.anchor()
            self._follow = False
