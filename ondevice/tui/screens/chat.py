"""The chat screen: conversation, composer, live numbers."""

from __future__ import annotations

import time
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, Markdown
from textual.worker import Worker, WorkerState

from ondevice import units
from ondevice.chat import Chat, ChatEvent, Stored
from ondevice.domain.generation import (
    EngineNotice,
    LoadOptions,
    PrefillProgress,
    Sampling,
    TextDelta,
)
from ondevice.domain.measured import Measured
from ondevice.domain.model import ModelFile
from ondevice.domain.session import Session
from ondevice.domain.text import clean, clean_line
from ondevice.errors import EngineCrashed, EngineTimedOut, OnDeviceError
from ondevice.hardware.sampler import read_process
from ondevice.tui import messages
from ondevice.tui.live import Live
from ondevice.tui.screens.link import LinkScreen
from ondevice.tui.widgets.bubble import Answer, Question, Trouble
from ondevice.tui.widgets.composer import Composer
from ondevice.tui.widgets.meter import MeterLine, MeterPanel
from ondevice.tui.widgets.topbar import TopBar

WIDE = 100
PAINT_METER_S = 0.25
READ_MEMORY_S = 1.0
WRITE_TEXT_S = 0.12
"""Text goes to the screen this often: a write costs layout, a token a write costs half a core."""


class ChatScreen(Screen[None]):
    """One conversation with one model."""

    CSS_PATH = "../styles/chat.tcss"
    AUTO_FOCUS = "#composer"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", id="chat.stop", tooltip="Stop the answer; it is kept."),
        Binding("f5", "reload", "Reload", id="chat.reload", tooltip="Load the model again."),
        Binding("f6", "new", "New", id="chat.new", tooltip="Begin a new conversation."),
        Binding("pageup", "scroll_talk(-1)", "Up", id="chat.up", show=False, tooltip="Scroll up."),
        Binding(
            "pagedown", "scroll_talk(1)", "Down", id="chat.down", show=False, tooltip="Scroll down."
        ),
    ]

    def __init__(self, chat: Chat, options: LoadOptions, max_tokens: int) -> None:
        super().__init__()
        self._chat, self._options, self._max_tokens = chat, options, max_tokens
        self._live = Live()
        self._answer: Answer | None = None
        self._busy = False
        self._follow = False
        """The end of the conversation is to be kept in view as soon as it overflows."""

    def compose(self) -> ComposeResult:
        yield TopBar()
        with Horizontal(id="columns"):
            with Vertical(id="talk"):
                yield VerticalScroll(id="conversation", can_focus=False)
                yield MeterLine(id="line")
                yield Composer()
            yield MeterPanel(id="panel")
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self.set_interval(PAINT_METER_S, self._paint_meter)
        self.set_interval(READ_MEMORY_S, self._read_memory)
        self._title()
        self._paint_meter()

    def on_resize(self) -> None:
        self.set_class(self.size.width < WIDE, "narrow")
        self._paint_meter()

    @property
    def busy(self) -> bool:
        """Whether an answer is being made."""
        return self._busy

    # Model

    def load(self, file: ModelFile) -> None:
        """Make `file` the model, in the background."""
        if self._busy:
            self.notify("Esc stops the running answer first.", markup=False)
            return
        self._live.info = self._live.memory = None
        self._live.threads = None
        self._say_running(f"loading {file.name}")
        self._load(file)

    @work(thread=True, exclusive=True, exit_on_error=False, group="engine")
    def _load(self, file: ModelFile) -> None:
        def progress(fraction: float) -> None:
            self.post_message(messages.ModelLoading(file, fraction))

        try:
            info = self._chat.load(file, self._options, progress)
        except OnDeviceError as error:
            self.post_message(messages.ModelFailed(error))
        else:
            self.post_message(messages.ModelReady(file, info))

    @on(messages.ModelLoading)
    def _show_loading(self, event: messages.ModelLoading) -> None:
        if self._live.info is None:
            self._say_running(f"loading {event.file.name} {event.fraction:.0%}")

    @on(messages.ModelReady)
    def _show_ready(self, event: messages.ModelReady) -> None:
        self._live.info = event.info
        name = f"{event.file.name} {event.file.quantization}".strip()
        self._say_running(f"{name} · {event.info.engine} {event.info.backend.upper()} · offline")
        for notice in event.info.notices:
            self.notify(clean_line(notice.message), markup=False)
        self._read_memory()

    @on(messages.ModelFailed)
    async def _show_load_failure(self, event: messages.ModelFailed) -> None:
        self._say_running("no model")
        await self._trouble(event.error, "F2 chooses another model.")

    def action_reload(self) -> None:
        """Load the model again, for one whose engine stopped."""
        if self._chat.file is not None:
            self.load(self._chat.file)

    # A turn

    @on(Composer.Sent)
    async def _send(self, event: Composer.Sent) -> None:
        if self._live.info is None:
            self.notify("No model is ready: F2 chooses one, F5 loads it again.", markup=False)
            return
        if self._busy:
            self.notify("Esc stops the running answer first.", markup=False)
            return
        self._busy = True
        self.query_one(Composer).accepted(event.text)
        self._live.begin_turn()
        model = self._chat.file.name if self._chat.file else "model"
        self._answer = Answer(model)
        self._answer.say("thinking")
        await self._conversation.mount(Question(event.text), self._answer)
        self._follow = True
        self.call_after_refresh(self._follow_end)
        self._generate(event.text)

    @work(thread=True, exclusive=True, exit_on_error=False, group="generation")
    def _generate(self, text: str) -> None:
        """Iterate and post, nothing else."""
        feed = _TextFeed(self)
        try:
            for event in self._chat.send(text, Sampling(), self._max_tokens):
                self._pass_on(event, feed)
            feed.flush()
        except OnDeviceError as error:
            feed.flush()
            stopped = isinstance(error, EngineCrashed | EngineTimedOut)
            self.post_message(messages.TurnFailed(error, stopped))

    def _pass_on(self, event: ChatEvent, feed: _TextFeed) -> None:
        match event:
            case TextDelta():
                self._live.note_delta(event)
                feed.add(event.text)
            case PrefillProgress():
                self._live.prefill = event
                self.post_message(messages.PromptProgressed(event))
            case EngineNotice():
                self.post_message(messages.Noticed(event))
            case Measured():
                feed.flush()
                self._live.end_turn(event)
                self.post_message(messages.TurnMeasured(event))
            case Stored():
                self.post_message(messages.MessageStored(event.message))

    @on(messages.PromptProgressed)
    def _show_prefill(self, event: messages.PromptProgressed) -> None:
        progress = event.progress
        if self._answer is None or progress.done_tokens >= progress.total_tokens:
            return
        left = f", {units.duration(progress.eta_s)} left" if progress.eta_s else ""
        read = f"{units.count(progress.done_tokens)} of {units.count(progress.total_tokens)}"
        self._answer.say(f"reading the prompt: {read} tokens{left}")

    @on(messages.TextArrived)
    async def _show_text(self, event: messages.TextArrived) -> None:
        if self._answer is not None:
            await self._answer.write(event.text)
            self._follow_end()

    @on(messages.TurnMeasured)
    async def _show_measured(self, event: messages.TurnMeasured) -> None:
        if self._answer is not None:
            await self._answer.end(event.measured)
        self._turn_over()

    @on(messages.TurnFailed)
    async def _show_failure(self, event: messages.TurnFailed) -> None:
        if self._answer is not None:
            await self._answer.end(None, "interrupted")
        if event.engine_stopped:
            self._live.info = self._live.memory = None
            self._say_running("the engine stopped · F5 loads it again")
        await self._trouble(event.error, "")
        self._turn_over()

    @on(messages.Noticed)
    def _show_notice(self, event: messages.Noticed) -> None:
        notice = event.notice
        if notice.code == "threads":  # the meter shows it
            self._live.threads = int(notice.message.split()[1])
            return
        self.notify(
            clean_line(notice.message),
            severity="warning" if notice.code == "storage" else "information",
            markup=False,
        )

    @on(messages.MessageStored)
    def _show_stored(self, event: messages.MessageStored) -> None:
        self._title()

    def _turn_over(self) -> None:
        self._busy = False
        self._answer = None
        self._paint_meter()

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A bug in a worker must not look like waiting."""
        if event.state is WorkerState.ERROR and event.worker.error is not None:
            raise event.worker.error

    def action_stop(self) -> None:
        """Stop the answer."""
        if self._busy:
            self._chat.cancel()

    # Conversation

    def open(self, session: Session | None) -> None:
        """Show a stored conversation, or an empty new one."""
        if self._busy:
            self.notify("Esc stops the running answer first.", markup=False)
            return
        self._chat.open(session)
        self._live.begin_turn()
        self._show_conversation()

    def action_new(self) -> None:
        """Begin a new conversation; the old one stays in the list."""
        self.open(None)

    @work(exclusive=True, group="conversation")
    async def _show_conversation(self) -> None:
        await self._conversation.remove_children()
        stored = self._chat.conversation.messages
        bubbles = [
            Question(message.content) if message.role == "user" else Answer.stored(message)
            for message in stored
            if message.content
        ]
        await self._conversation.mount_all(bubbles)
        questions = [message.content for message in stored if message.role == "user"]
        self.query_one(Composer).remember(questions)
        self._follow = True
        self.call_after_refresh(self._follow_end)
        self._title()

    def _follow_end(self) -> None:
        """Anchor once a turn: scrolling up releases it, and must not be undone.

        Anchoring a view that is not full scrolls it to a negative offset (Textual 8.2).
        """
        if self._follow and self._conversation.max_scroll_y > 0:
            self._conversation.anchor()
            self._follow = False

    def action_scroll_talk(self, pages: int) -> None:
        """Scroll the conversation while the composer keeps the focus."""
        if pages < 0:
            self._conversation.scroll_page_up(animate=False)
        else:
            self._conversation.scroll_page_down(animate=False)

    @on(Markdown.LinkClicked)
    def _ask_before_opening(self, event: Markdown.LinkClicked) -> None:
        event.stop()
        href = clean(event.href)

        def answered(yes: bool | None) -> None:
            if yes and href.startswith(("https://", "http://")):
                self.app.open_url(href)

        self.app.push_screen(LinkScreen(href), answered)

    @on(Composer.Refused)
    def _show_refusal(self, event: Composer.Refused) -> None:
        self.notify(event.reason, severity="warning", markup=False)

    # Painting

    @property
    def _conversation(self) -> VerticalScroll:
        return self.query_one("#conversation", VerticalScroll)

    def _title(self) -> None:
        session = self._chat.conversation.session
        title = Content(clean_line(session.title, 60) if session else "New conversation")
        self._conversation.border_title = title.markup

    def _say_running(self, text: str) -> None:
        self.query_one(TopBar).show(text)

    async def _trouble(self, error: OnDeviceError, otherwise: str) -> None:
        await self._conversation.mount(Trouble(error.message, error.hint or otherwise))
        self._follow = True
        self.call_after_refresh(self._follow_end)

    def show_empty(self, message: str, hint: str) -> None:
        """Nothing to talk to: say what to do."""
        self._say_running("no model")
        self._conversation.mount(Trouble(message, hint))

    def _paint_meter(self) -> None:
        if self.has_class("narrow"):
            self.query_one(MeterLine).show(self._live)
        else:
            self.query_one(MeterPanel).show(self._live, self._chat.price)

    @work(thread=True, exclusive=True, exit_on_error=False, group="memory")
    def _read_memory(self) -> None:
        info = self._live.info
        if info is not None:
            self._live.memory = read_process(info.pid, info.model_path)


class _TextFeed:
    """Collects text in the worker and posts it a few times a second."""

    def __init__(self, screen: ChatScreen) -> None:
        self._screen = screen
        self._pieces: list[str] = []
        self._posted = 0.0

    def add(self, text: str) -> None:
        self._pieces.append(text)
        if time.monotonic() - self._posted >= WRITE_TEXT_S:
            self.flush()

    def flush(self) -> None:
        if self._pieces:
            self._screen.post_message(messages.TextArrived("".join(self._pieces)))
            self._pieces.clear()
            self._posted = time.monotonic()
