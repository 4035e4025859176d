"""One turn that a person keeps: context, measure, store.

The user's message is durable before generation starts; an answer is stored as it grows, and half
of one is kept and marked, whatever interrupts it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ondevice.domain.cost import Price
from ondevice.domain.generation import (
    ChatMessage,
    EngineInfo,
    EngineNotice,
    GenerationRequest,
    LoadOptions,
    Prompt,
    Sampling,
    TextDelta,
)
from ondevice.domain.measured import Measured
from ondevice.domain.model import ModelFile
from ondevice.domain.session import MessageState, Session, StoredMessage
from ondevice.engines import registry
from ondevice.engines.base import Engine, LoadProgress, no_progress
from ondevice.errors import EngineClosed, EngineCrashed, EngineTimedOut, StorageTrouble
from ondevice.measure import MeasureEvent, measure
from ondevice.storage.sessions import Sessions

SAVE_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Stored:
    """A message is as safe as it will be: durable, or, after a notice, only in memory."""

    message: StoredMessage


ChatEvent = Stored | MeasureEvent


class Conversation:
    """The messages of one session. `sessions=None` keeps them in memory only."""

    def __init__(self, sessions: Sessions | None, session: Session | None = None) -> None:
        self._sessions = sessions
        self.session = session
        """None until the first message."""
        self.messages: list[StoredMessage] = []
        if sessions is not None and session is not None:
            self.messages = sessions.messages(session.id)

    def prompt(self, system: str = "") -> Prompt:
        """What the model is shown: unanswered questions join the next, as roles must alternate."""
        turns = [ChatMessage("system", system)] if system else []
        for message in self.messages:
            if not message.content:
                continue
            if turns and turns[-1].role == message.role:
                joined = f"{turns[-1].content}\n\n{message.content}"
                turns[-1] = ChatMessage(message.role, joined)
            else:
                turns.append(ChatMessage(message.role, message.content))
        return Prompt(messages=tuple(turns))

    def send(
        self,
        engine: Engine,
        info: EngineInfo,
        text: str,
        *,
        model: str,
        price: Price | None = None,
        sampling: Sampling | None = None,
        max_tokens: int = 1024,
    ) -> Iterator[ChatEvent]:
        """Store `text`, answer it, store the answer.

        Yields Stored for the question, the events of `measure`, then Stored for the answer.
        Raises what the engine raises, after the part that came is stored as interrupted.
        """
        yield from self._add_question(text)
        system = self.session.system_prompt if self.session else ""
        request = GenerationRequest(self.prompt(system), sampling or Sampling(), max_tokens)
        answer = _Answer(self._sessions, self.session, model)
        try:
            for event in measure(engine, info, request, price):
                yield event
                yield from answer.note(event)
        finally:
            self.messages.append(answer.close())
        yield from answer.notices()
        yield Stored(self.messages[-1])

    def _add_question(self, text: str) -> Iterator[ChatEvent]:
        message = StoredMessage(0, 0, "user", text, "complete")
        if self._sessions is not None:
            try:
                if self.session is None:
                    self.session = self._sessions.create(text)
                message = self._sessions.add(self.session.id, "user", text)
            except StorageTrouble as error:
                yield _unsaved(error)
        self.messages.append(message)
        yield Stored(message)


class Chat:
    """A model, its engine and a conversation: what a screen or a line mode drives.

    `load` and `send` block, so a screen calls them from a thread; `cancel` and `close` may be
    called from any.
    """

    def __init__(self, sessions: Sessions | None, price: Price | None = None) -> None:
        self._sessions = sessions
        self.price = price
        self.conversation = Conversation(sessions)
        self.file: ModelFile | None = None
        self.info: EngineInfo | None = None
        """None until a model is loaded, and after its engine stopped."""
        self._engine: Engine | None = None

    def load(
        self, file: ModelFile, options: LoadOptions, progress: LoadProgress = no_progress
    ) -> EngineInfo:
        """Make `file` the model of the next turn; the conversation stays."""
        if self._engine is None or self.file is None or self.file.engine != file.engine:
            self.close()
            self._engine = registry.in_child(file.engine)
        self.file, self.info = file, None
        self.info = self._engine.load(file, options, progress)
        return self.info

    def send(self, text: str, sampling: Sampling, max_tokens: int) -> Iterator[ChatEvent]:
        """One turn; see `Conversation.send`."""
        if self._engine is None or self.info is None or self.file is None:
            raise EngineClosed("no model is loaded", hint="Choose one first.")
        price = None if self.file.random_weights else self.price
        try:
            yield from self.conversation.send(
                self._engine,
                self.info,
                text,
                model=self.file.name,
                price=price,
                sampling=sampling,
                max_tokens=max_tokens,
            )
        except (EngineCrashed, EngineTimedOut):
            self.info = None
            raise

    def open(self, session: Session | None) -> None:
        """Go on with a stored session, or begin a new one."""
        self.conversation = Conversation(self._sessions, session)

    def cancel(self) -> None:
        """Stop the running answer; what there is of it is kept."""
        if self._engine is not None:
            self._engine.cancel()

    def close(self) -> None:
        """End the engine."""
        if self._engine is not None:
            self._engine.close()
        self._engine = self.info = None


class _Answer:
    """The growing answer and its row."""

    def __init__(self, sessions: Sessions | None, session: Session | None, model: str) -> None:
        self._sessions = sessions if session is not None else None
        self._pieces: list[str] = []
        self._measured: Measured | None = None
        self._saved = time.monotonic()
        self._trouble: list[EngineNotice] = []
        self._message = StoredMessage(0, 0, "assistant", "", "streaming", model)
        if self._sessions is not None and session is not None:
            try:
                self._message = self._sessions.add(session.id, "assistant", "", "streaming", model)
            except StorageTrouble as error:
                self._give_up(error)

    def note(self, event: MeasureEvent) -> Sequence[EngineNotice]:
        """Account for one event; the row is brought up to date now and then."""
        if isinstance(event, Measured):
            self._measured = event
        if isinstance(event, TextDelta):
            self._pieces.append(event.text)
            now = time.monotonic()
            if self._sessions is not None and now - self._saved >= SAVE_EVERY_S:
                self._saved = now
                try:
                    self._sessions.save_part(self._message.id, "".join(self._pieces))
                except StorageTrouble as error:
                    self._give_up(error)
        return self.notices()

    def notices(self) -> Sequence[EngineNotice]:
        """Trouble with storing, said once."""
        trouble, self._trouble = self._trouble, []
        return trouble

    def close(self) -> StoredMessage:
        """The answer as it stands; interrupted unless it ended by itself."""
        text = "".join(self._pieces)
        finish = self._measured.done.finish_reason if self._measured else "cancelled"
        state: MessageState = "interrupted" if finish == "cancelled" else "complete"
        if self._sessions is not None:
            try:
                return self._sessions.finish(self._message.id, text, state, self._measured)
            except StorageTrouble as error:
                self._give_up(error)
        return replace(self._message, content=text, state=state, finish_reason=finish)

    def _give_up(self, error: StorageTrouble) -> None:
        self._sessions = None
        self._trouble.append(_unsaved(error))


def _unsaved(error: StorageTrouble) -> EngineNotice:
    return EngineNotice("storage", f"this conversation is not being saved: {error.message}")
