"""One message of the conversation."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Markdown, Static
from textual.widgets.markdown import MarkdownStream

from ondevice import units
from ondevice.domain.measured import Measured
from ondevice.domain.session import StoredMessage
from ondevice.domain.text import clean, clean_line

ENDINGS = {
    "stop": "",
    "length": "cut at the token limit",
    "context_full": "the context is full",
    "cancelled": "stopped",
    "failed": "failed",
}


class Bubble(Vertical):
    """A head line with who and how much, and a body."""

    def __init__(self, who: str, body: Markdown | Static, classes: str) -> None:
        super().__init__(classes=f"bubble {classes}")
        self._who = Static(Content(clean_line(who, 60)), classes="who")
        self._facts = Static("", classes="facts")
        self.body = body

    def compose(self) -> ComposeResult:
        with Horizontal(classes="head"):
            yield self._who
            yield self._facts
        yield self.body

    def say(self, facts: str) -> None:
        """Put `facts` to the right of the name."""
        self._facts.update(Content(clean_line(facts, 80)))


class Question(Bubble):
    """What the person wrote, as it was written."""

    def __init__(self, text: str) -> None:
        super().__init__("You", Static(Content(clean(text)), classes="body"), "question")


class Answer(Bubble):
    """What the model wrote, as Markdown that grows."""

    def __init__(self, model: str) -> None:
        # A link is shown before it is opened: the screen asks.
        super().__init__(model, Markdown(open_links=False, classes="body"), "answer")
        self._stream: MarkdownStream | None = None

    @property
    def markdown(self) -> Markdown:
        assert isinstance(self.body, Markdown)
        return self.body

    async def write(self, text: str) -> None:
        """Append text; the widget merges what comes faster than it can paint."""
        if self._stream is None:
            self._stream = Markdown.get_stream(self.markdown)
        await self._stream.write(clean(text))

    async def end(self, measured: Measured | None, note: str = "") -> None:
        """Stop growing, and show the numbers."""
        if self._stream is not None:
            await self._stream.stop()
            self._stream = None
        if measured is not None:
            self.say(_facts(measured))
        elif note:
            self.say(note)

    @classmethod
    def stored(cls, message: StoredMessage) -> Answer:
        """A bubble for an answer from the store."""
        bubble = cls(message.model or "model")
        bubble.body = Markdown(clean(message.content), open_links=False, classes="body")
        parts = [f"{units.count(message.completion_tokens)} tok"]
        if message.decode_tok_per_s:
            parts.append(units.rate(message.decode_tok_per_s))
        if message.state == "interrupted":
            parts.append("stopped")
        bubble.say(" · ".join(parts))
        return bubble


class Trouble(Bubble):
    """Something went wrong: what, and what to do."""

    def __init__(self, message: str, hint: str) -> None:
        text = clean(message) + (f"\n{clean(hint)}" if hint else "")
        super().__init__("ondevice", Static(Content(text), classes="body"), "trouble")


def _facts(measured: Measured) -> str:
    done = measured.done
    parts = [
        f"{units.count(done.usage.completion_tokens)} tok",
        units.rate(done.decode_tok_per_s),
        ENDINGS[done.finish_reason],
    ]
    return " · ".join(part for part in parts if part and part != units.UNKNOWN)
