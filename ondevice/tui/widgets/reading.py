"""The keys of the conversation: a cursor goes over the messages, letters act on the one it is on.

To connect another act: a handler of its fact in the screen, and its name in `CONNECTED`.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding

from ondevice.tui import messages
from ondevice.tui.widgets.bubble import Answer, Bubble, Question

ACTS = [
    Binding("up,k", "move(-1)", "Up", id="read.up", show=False,
            tooltip="While reading: the message before."),
    Binding("down,j", "move(1)", "Down", id="read.down", show=False,
            tooltip="While reading: the next message."),
    Binding("pageup", "page(-1)", "Page up", id="read.page_up", show=False,
            tooltip="While reading: what went before."),
    Binding("pagedown", "page(1)", "Page down", id="read.page_down", show=False,
            tooltip="While reading: towards the end."),
    Binding("slash", "find", "Find", id="read.find", show=False,
            tooltip="While reading: find in the conversation."),
    Binding("c", "copy", "Copy", id="read.copy",
            tooltip="While reading: copy the message as it was written."),
    Binding("y", "copy_code", "Copy code", id="read.code",
            tooltip="While reading: copy a code block of the message."),
    Binding("t", "fold", "Thinking", id="read.fold",
            tooltip="While reading: unfold the thinking of the message, or fold it."),
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ask:
    """Something the screen does with a message."""

    binding: Binding
    fact: type[messages.MessageAsked]
    """What is posted."""
    of: type[Bubble] = Bubble
    """Which messages it can be asked of."""


ASKS = {
    "edit": Ask(
        Binding(
            "e",
            "ask('edit')",
            "Edit",
            id="read.edit",
            tooltip="While reading: send the question again, changed.",
        ),
        messages.EditAsked,
        Question,
    ),
    "regenerate": Ask(
        Binding(
            "r",
            "ask('regenerate')",
            "Again",
            id="read.again",
            tooltip="While reading: answer once more.",
        ),
        messages.RegenerateAsked,
        Answer,
    ),
    "branch": Ask(
        Binding(
            "b",
            "ask('branch')",
            "Branch",
            id="read.branch",
            tooltip="While reading: go on from the message in another session.",
        ),
        messages.BranchAsked,
    ),
    "useful": Ask(
        Binding(
            "u",
            "ask('useful')",
            "Useful",
            id="read.useful",
            tooltip="While reading: mark the answer as useful.",
        ),
        messages.UsefulMarked,
        Answer,
    ),
}
CONNECTED: tuple[str, ...] = ()
"""Those that the chat screen has a handler for; no other is offered."""
