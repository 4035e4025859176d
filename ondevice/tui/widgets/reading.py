"""The keys of the conversation: a cursor goes over the messages, letters act on the one it is on.

To add another act: a fact, its row in `ASKS`, and what `tui/message_acts.py` does then.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding

from ondevice.tui import messages
from ondevice.tui.widgets.bubble import Answer, Bubble, Question

MOVES = [
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
]  # fmt: skip
ACTS = [
    Binding("c", "copy", "Copy", id="read.copy",
            tooltip="While reading: copy the message as it was written."),
    Binding("t", "fold", "Thinking", id="read.fold",
            tooltip="While reading: unfold the thinking of the message, or fold it."),
    Binding("y", "copy_code", "Copy code", id="read.code",
            tooltip="While reading: copy a code block of the message."),
]  # fmt: skip
NOUNS: dict[type[Bubble], str] = {Question: "a question", Answer: "an answer"}


@dataclass(frozen=True, slots=True)
class Ask:
    """Something the screen does with a message."""

    binding: Binding
    fact: type[messages.MessageAsked]
    """What is posted."""
    of: tuple[type[Bubble], ...]
    """Which messages it can be asked of."""
    about: str

    @property
    def refusal(self) -> str:
        """Why it cannot be asked of another one."""
        kinds = " or ".join(NOUNS[kind] for kind in self.of if kind in NOUNS)
        return f"{self.binding.description} is for {kinds}; ↑ and ↓ go to one."


IN_FOOTER = ("useful", "again", "edit", "branch")
"""Asked of what one has just read; those that move between paths are in the help."""


def _ask(
    key: str,
    label: str,
    about: str,
    name: str,
    of: type[Bubble] | tuple[type[Bubble], ...],
    fact: type[messages.MessageAsked],
) -> Ask:
    tooltip = f"While reading: {about}"
    show = name in IN_FOOTER
    binding = Binding(key, f"ask('{name}')", label, id=f"read.{name}", show=show, tooltip=tooltip)
    return Ask(binding, fact, of if isinstance(of, tuple) else (of,), about)


ASKS = {
    "useful": _ask("u", "Useful", "mark the answer as useful, or no longer.",
                   "useful", Answer, messages.UsefulMarked),
    "again": _ask("r", "Again", "answer once more; the first answer stays.",
                  "again", (Question, Answer), messages.RegenerateAsked),
    "edit": _ask("e", "Edit", "send the question again, changed; the first one stays.",
                 "edit", Question, messages.EditAsked),
    "branch": _ask("b", "Branch", "go on from the message; what followed it stays.",
                   "branch", Bubble, messages.BranchAsked),
    "before": _ask("left_square_bracket", "Before", "what stood in this place before.",
                   "before", Bubble, messages.BeforeAsked),
    "after": _ask("right_square_bracket", "After", "what came into this place after it.",
                  "after", Bubble, messages.AfterAsked),
    "paths": _ask("p", "Paths", "all paths of the session, to go to one of them.",
                  "paths", Bubble, messages.PathsAsked),
}  # fmt: skip

# A second binding of the same keys: it holds where the first does not.
REFUSALS = [
    Binding(
        ask.binding.key,
        f"refuse('{name}')",
        id=ask.binding.id,
        show=False,
        tooltip=ask.binding.tooltip,
    )
    for name, ask in ASKS.items()
    if Bubble not in ask.of
]
