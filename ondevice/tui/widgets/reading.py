"""The keys of the conversation: a cursor goes over the messages, letters act on the one it is on.

To add another act: a fact, its row in `ASKS`, and what `tui/message_acts.py` does then.
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
    of: type[Bubble]
    """Which messages it can be asked of."""
    about: str


def _ask(
    key: str, label: str, about: str, name: str, of: type[Bubble], fact: type[messages.MessageAsked]
) -> Ask:
    tooltip = f"While reading: {about}"
    binding = Binding(key, f"ask('{name}')", label, id=f"read.{name}", show=False, tooltip=tooltip)
    return Ask(binding, fact, of, about)


ASKS = {
    "edit": _ask("e", "Edit", "send the question again, changed; the first one stays.",
                 "edit", Question, messages.EditAsked),
    "again": _ask("r", "Again", "answer once more; the first answer stays.",
                  "again", Answer, messages.RegenerateAsked),
    "branch": _ask("b", "Branch", "go on from the message; what followed it stays.",
                   "branch", Bubble, messages.BranchAsked),
    "useful": _ask("u", "Useful", "mark the answer as useful, or no longer.",
                   "useful", Answer, messages.UsefulMarked),
    "before": _ask("left_square_bracket", "Before", "what stood in this place before.",
                   "before", Bubble, messages.BeforeAsked),
    "after": _ask("right_square_bracket", "After", "what came into this place after it.",
                  "after", Bubble, messages.AfterAsked),
    "paths": _ask("p", "Paths", "all paths of the session, to go to one of them.",
                  "paths", Bubble, messages.PathsAsked),
}  # fmt: skip
