"""One message of the conversation."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from ondevice import units
from ondevice.domain.generation import CUT_SHORT, EngineInfo, PrefillProgress
from ondevice.domain.measured import Measured
from ondevice.domain.model import ModelFile
from ondevice.domain.session import Places, StoredMessage
from ondevice.domain.text import clean, clean_line
from ondevice.domain.thinking import USUAL, ThinkingStream, ThinkingStyle, style_of
from ondevice.errors import OnDeviceError
from ondevice.tui.widgets.prose import Prose
from ondevice.tui.widgets.thinking import Thinking

ENDINGS = {
    "stop": "",
    **CUT_SHORT,
    "cancelled": "stopped",
    "failed": "failed",
}
USEFUL = "★ useful"


class Bubble(Vertical):
    """A head line with who and how much, and a body, with something above it or not."""

    def __init__(self, who: str, body: Widget, classes: str, above: Widget | None = None) -> None:
        super().__init__(classes=f"bubble {classes}")
        self.message: StoredMessage | None = None
        """None until it is stored, and for what is not."""
        self._who = Static(Content(clean_line(who, 60)), classes="who")
        self._facts = Static("", classes="facts")
        self._said, self._noted = "", ""
        self._above, self.body = above, body

    def compose(self) -> ComposeResult:
        with Horizontal(classes="head"):
            yield self._who
            yield self._facts
        if self._above is not None:
            yield self._above
        yield self.body

    def select(self, selected: bool) -> None:
        """Whether the cursor is on it."""
        self.set_class(selected, "selected")

    @property
    def written(self) -> str:
        """What a copy of it holds: what was written, not how it is shown."""
        return self.body.text if isinstance(self.body, Prose) else ""

    @property
    def proses(self) -> list[Prose]:
        """What can be found in it, from top to bottom."""
        return [self.body] if isinstance(self.body, Prose) else []

    def say(self, facts: str) -> None:
        """Put `facts` to the right of the name."""
        if facts != self._said:
            self._said = facts
            self._show_facts()

    def note(self, message: StoredMessage, places: Places) -> None:
        """It is of this message: show whether that is useful, which of how many it is, and what
        files went with it."""
        self.message = message
        number, count = places.get(message.id, (1, 1))
        which = f"{number} of {count}" if count > 1 else ""
        files = ", ".join(clean_line(each.name, 40) for each in message.attached)
        facts = [USEFUL if message.useful else "", which, f"with {files}" if files else ""]
        noted = " · ".join(filter(None, facts))
        if noted != self._noted:
            self._noted = noted
            self._show_facts()

    def _show_facts(self) -> None:
        facts = " · ".join(filter(None, [self._said, self._noted]))
        self._facts.update(Content(clean_line(facts, 100)), layout=False)


class Question(Bubble):
    """What the person wrote, as it was written."""

    def __init__(self, text: str) -> None:
        super().__init__("You", Prose(clean(text), markdown=False), "question")

    @classmethod
    def stored(cls, message: StoredMessage) -> Question:
        """A bubble for a question from the store."""
        bubble = cls(message.content)
        bubble.message = message
        return bubble


class Trouble(Bubble):
    """Something went wrong: what, what an engine said last, and what to do."""

    def __init__(self, error: OnDeviceError, hint: str) -> None:
        last = [f"| {line}" for line in error.last_lines]
        lines = [each for each in (error.message, *last, hint) if each]
        self._text = "\n".join(clean_line(line, 500) for line in lines)
        super().__init__("ondevice", Static(Content(self._text), classes="body"), "trouble")

    @property
    def written(self) -> str:
        return self._text


class Cut(Bubble):
    """What stands for the model in the place of earlier turns, as it reads it."""

    def __init__(self, message: StoredMessage) -> None:
        super().__init__(message.model, Prose(clean(message.content), markdown=False), "cut")
        self.message = message
        self.say("earlier turns are not shown to the model")


class Answer(Bubble):
    """What the model wrote, its thinking folded."""

    def __init__(self, model: str, style: ThinkingStyle = USUAL, text: str = "") -> None:
        self._stream = ThinkingStream(style)
        thought, answer = self._stream.feed(clean(text), last=bool(text))
        self._prose, self.thinking = Prose(answer), Thinking()
        self.thinking.append(thought, growing=False)
        super().__init__(model, self._prose, "answer", above=self.thinking)

    def select(self, selected: bool) -> None:
        super().select(selected)
        self.thinking.select(selected)

    @property
    def written(self) -> str:
        """The answer; of one that was cut before it began, the thinking."""
        return self._prose.text or self.thinking.text

    @property
    def proses(self) -> list[Prose]:
        return [prose for prose in (self.thinking.prose, self._prose) if prose]

    def write(self, text: str) -> None:
        """Append text."""
        self._divide(clean(text))

    def _divide(self, text: str, last: bool = False) -> None:
        thought, answer = self._stream.feed(text, last)
        self.thinking.append(thought, growing=self._stream.thinking and not last)
        if answer:
            self._prose.append(answer)

    def say_reading(self, progress: PrefillProgress) -> None:
        """How far the prompt is read."""
        if progress.done_tokens < progress.total_tokens:
            left = f", {units.duration(progress.eta_s)} left" if progress.eta_s else ""
            read = units.count(progress.total_tokens)
            if progress.done_tokens:  # a short prompt is read at once, so 0 of it would stand still
                read = f"{units.count(progress.done_tokens)} of {read}"
            self.say(f"reading the prompt: {read} tokens{left}")

    def end(self, measured: Measured | None, note: str = "") -> None:
        """Show what is left to show, and the numbers."""
        self._divide("", last=True)
        self._prose.end()
        self.say(_facts(measured) if measured is not None else note)

    def answers_with(self, info: EngineInfo, schema: str | None) -> None:
        """Nothing of it is written, and this model is there now."""
        self._stream = ThinkingStream(info.thinking.under(schema))

    @classmethod
    def begun(cls, file: ModelFile | None, info: EngineInfo | None, schema: str | None) -> Answer:
        """A bubble for an answer that this model is about to make."""
        style = info.thinking if info else USUAL
        return cls(file.name if file else "model", style.under(schema))

    @classmethod
    def stored(cls, message: StoredMessage) -> Answer:
        """A bubble for an answer from the store."""
        style = style_of(message.content)
        bubble = cls(message.model or "model", style, message.content)
        bubble.message = message
        stopped = message.finish_reason == "cancelled" and message.completion_tokens
        interrupted = message.state == "interrupted" and not stopped
        parts = [
            f"{units.count(message.completion_tokens)} tok" if message.completion_tokens else "",
            units.rate(message.decode_tok_per_s) if message.decode_tok_per_s else "",
            "interrupted"
            if interrupted and not stopped
            else ENDINGS.get(message.finish_reason, ""),
        ]
        bubble.say(" · ".join(part for part in parts if part))
        return bubble


def of_message(message: StoredMessage, places: Places) -> Bubble:
    """A bubble for a message from the store."""
    bubble: Bubble
    if message.kept_from is not None:
        bubble = Cut(message)
    else:
        bubble = Question.stored(message) if message.role == "user" else Answer.stored(message)
    bubble.note(message, places)
    return bubble


def _facts(measured: Measured) -> str:
    done = measured.done
    parts = [
        f"{units.count(done.usage.completion_tokens)} tok",
        units.rate(done.decode_tok_per_s),
        ENDINGS[done.finish_reason],
    ]
    return " · ".join(part for part in parts if part and part != units.UNKNOWN)
