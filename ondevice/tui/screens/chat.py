"""The chat screen: conversation, composer, live numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal

from ondevice.chat import REFUSED, ChatEvent
from ondevice.chat.ahead import send_ahead
from ondevice.domain.generation import Sampling
from ondevice.errors import ContextOverflow, NotAttached, NotLoaded
from ondevice.tui import messages
from ondevice.tui.message_acts import MessageActs
from ondevice.tui.screens.opening import OpeningScreen
from ondevice.tui.turn import run_turn
from ondevice.tui.waiting import Wanted
from ondevice.tui.widgets.bubble import Answer, Question, Trouble
from ondevice.tui.widgets.composer import Composer
from ondevice.tui.widgets.conversation import Conversation
from ondevice.tui.widgets.finder import Finder
from ondevice.tui.widgets.keys import Keys, key_of
from ondevice.tui.widgets.meter import MeterLine, MeterPanel
from ondevice.tui.widgets.talk import Talk
from ondevice.tui.widgets.topbar import TopBar

WIDE, HIGH, TALL = 100, 24, 12
NOT_TAKEN = (NotAttached, *REFUSED)
PAINT_METER_S, READ_MEMORY_S = 0.5, 1.0


class ChatScreen(OpeningScreen):
    """One conversation with one model."""

    AUTO_FOCUS = "#composer"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", id="chat.stop", tooltip="Stop the answer; it is kept."),
        Binding("f5", "reload", "Reload", id="chat.reload",
                tooltip="Load the model again: its engine stopped, or settings changed."),
        # F6 and F7 are the text area's own.
        Binding("f8", "new", "New", id="chat.new", tooltip="Begin a new session."),
        Binding("ctrl+o", "room", "Context", id="chat.room", show=False,
                tooltip="See what fills the context, and make room in it."),
    ]  # fmt: skip

    def compose(self) -> ComposeResult:
        yield TopBar("Chat")
        with Horizontal(id="columns"):
            yield Talk()
            yield MeterPanel(id="panel")
        yield Keys()

    @property
    def keyed(self) -> tuple[type, ...]:
        """What has keys here, in the order of the help."""
        return Composer, ChatScreen, Talk, Conversation, Finder

    def on_mount(self) -> None:
        self.set_interval(PAINT_METER_S, self.paint_meter)
        self.set_interval(READ_MEMORY_S, self._read_memory)
        self.set_interval(PAINT_METER_S, self.look_at_engine)
        self._composer = self.query_one(Composer)
        self._name_title()
        self.app.set_class(not self._chat.conversation.is_kept, "private")

    def on_resize(self) -> None:
        panel = self.size.width >= WIDE and self.size.height >= HIGH
        self.set_class(not panel, "narrow")
        self.set_class(self.size.height < TALL, "short")
        self.call_after_refresh(self.paint_meter)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Stop and Reload are offered when they do something."""
        if action == "stop":
            return self._answer is not None
        if action == "reload":
            return self.can_reload
        return True

    # A turn

    @on(Composer.Sent)
    async def _send(self, event: Composer.Sent) -> None:
        if self._finishes or self._leaving:
            self._waiting.put(event)
        elif self._loading and not self.busy:
            ahead = (*self._how, self._await_model(), event.instead_of)
            await self._begin(send_ahead(self._chat, event.text, *ahead), event)
        elif self.is_not_ready():
            self._give_back(event)
        elif event.instead_of is None:
            events = self._chat.send(event.text, *self._how)  # Esc counts from here
            await self._begin(events, event)
        else:
            events = self._chat.resend(event.instead_of, event.text, *self._how)
            await self._begin(events, event)
        outgoing = self.query_one(Composer).outgoing
        if event in outgoing:  # not those that waited
            outgoing.remove(event)

    @on(MessageActs.AskedAgain)
    async def _ask_again(self, event: MessageActs.AskedAgain) -> None:
        if not self.is_not_ready():
            number, stays = event.message.id, event.message.role == "user"
            events = self._chat.answer_again(number, *self._how)
            await self._conversation.cut(number, after=stays)
            await self._begin(events)

    def _give_back(self, sent: Composer.Sent) -> None:
        self.query_one(Composer).give_back(sent.text)
        if sent.instead_of is not None:
            self._say("It is back below: sent from there it is a new question.")

    @property
    def _how(self) -> tuple[Sampling, int]:
        return self.settings.sampling, self.settings.max_tokens

    async def _begin(self, events: Iterator[ChatEvent], sent: Composer.Sent | None = None) -> None:
        """Show an answer in the making, and what was sent, if anything was, as its question."""
        self.busy = True
        chat = self._chat
        self._answer = Answer.begun(self._loading or chat.file, self._live.info, chat.schema)
        self._answer.say("waiting for the model" if self._loading else "thinking")
        self.refresh_bindings()
        self._live.begin_turn()
        if sent:
            self.query_one(Composer).accepted(sent.text)
            if sent.instead_of is not None:
                await self._conversation.cut(sent.instead_of)
            await self._conversation.add(Question(sent.text), self._answer)
        else:
            await self._conversation.add(self._answer)
        if not self._leaving:
            self._generate(events)
        elif sent:
            self._waiting.put(sent)

    @work(thread=True, exclusive=True, exit_on_error=False, group="generation")
    def _generate(self, events: Iterator[ChatEvent]) -> None:
        run_turn(events, self._live, self.post_message)

    @on(messages.ModelLoading)
    def _show_wait(self, event: messages.ModelLoading) -> None:
        if self._awaited and self._answer and event.file is self._loading:
            self._answer.say(f"waiting for the model: {event.fraction:.0%} loaded")

    @on(messages.ModelReady)
    def _end_show_of_wait(self, event: messages.ModelReady) -> None:
        if self._awaited and self._answer and event.file is self._loading:
            self._answer.answers_with(event.info, self._chat.schema)
            self._answer.say("thinking")

    @on(messages.PromptProgressed)
    def _show_prefill(self, event: messages.PromptProgressed) -> None:
        if self._answer is not None:
            self._answer.say_reading(event.progress)

    @on(messages.TextArrived)
    def _show_text(self, event: messages.TextArrived) -> None:
        if self._answer is not None:
            self._answer.say("")
            self._answer.write(event.text)
            self._conversation.follow()

    @on(messages.TurnMeasured)
    def _show_measured(self, event: messages.TurnMeasured) -> None:
        if self._answer is not None:
            self._answer.end(event.measured)
        self._answer = None
        self.refresh_bindings()
        self.paint_meter()

    @on(messages.TurnFailed)
    async def _show_failure(self, event: messages.TurnFailed) -> None:
        if self._answer is not None:
            self._answer.end(None, "interrupted")
            for message in self._chat.conversation.messages[-1:]:  # what came of it is kept
                self._conversation.note_stored(message, self._chat.conversation.places())
        self._answer = None
        self._live.begin_turn()
        error, hint = event.error, event.error.hint
        if event.engine_stopped:
            self.note_engine_gone()
        if isinstance(error, NOT_TAKEN):  # it is not in the conversation
            shown = self._chat.conversation
            await self._conversation.show(shown.messages, shown.places())
            self.query_one(Composer).give_back(error.question)
        if isinstance(error, ContextOverflow):
            room = f"{key_of(self, 'chat.room')} makes room"
            hint = f"Nothing was cut, and the question is back below: shorten it, or {room}."
        trouble = Trouble(error, hint)
        trouble.set_class(isinstance(error, NotLoaded), "not-loaded")
        await self._conversation.add(trouble)

    @on(messages.Noticed)
    def _show_notice(self, event: messages.Noticed) -> None:
        notice, words = event.notice, event.notice.message
        if notice.code == "context":
            words = f"{words}. {key_of(self, 'chat.room')} makes room."
        warns = notice.code in ("storage", "context", "engine")
        self._say(words, "warning" if warns else "information")

    @on(messages.MessageStored)
    def _note_stored(self, event: messages.MessageStored) -> None:
        self._conversation.note_stored(event.message, self._chat.conversation.places())
        self._name_title()

    @on(messages.TurnOver)
    async def _end_turn(self) -> None:
        if self._answer is not None:  # stopped before there was a model: no answer is stored
            self._answer.add_class("unmade")
            await self._conversation.take_away(".unmade")
            self._say("Stopped. The question stays, and Again answers it.")
        self._answer, self.busy = None, False
        self._end_wait(False)
        self.refresh_bindings()
        self.paint_meter()
        self._meanwhile.note_answer()
        # Here, as it goes before what is sent now.
        while not (self.busy or self._leaving) and (due := self._waiting.take()):
            if isinstance(due, Wanted):
                self.open(due)
            else:
                await self._send(due)

    def action_stop(self) -> None:
        """Stop the answer."""
        if self._answer is not None:
            self._chat.cancel()
            self._answer.say("stopping")
            self._end_wait(False)

    # Conversation

    @on(messages.MessageAsked)
    def _act(self, event: messages.MessageAsked) -> None:
        self._acts.do(event)

    @on(messages.MessageMarked)
    def _show_mark(self, event: messages.MessageMarked) -> None:
        self._conversation.note_changed(event.message)

    async def action_scroll_talk(self, pages: int) -> None:
        """Scroll the conversation while the composer keeps the focus."""
        await self._conversation.page(pages)

    def paint_meter(self) -> None:
        """Show the newest numbers."""
        live, reuse = self._live, self._chat.reuse
        live.context = None if self.busy or live.info is None else self._chat.context
        live.reuse, live.reuse_total = reuse.last, reuse.total
        if self.has_class("narrow"):
            self.query_one(MeterLine).show(self._live)
        else:
            self.query_one(MeterPanel).show(self._live)
