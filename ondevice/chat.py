"""One turn that a person keeps: context, measure, store.

The user's message is durable before generation starts; an answer is stored as it grows, and half
of one is kept and marked, whatever interrupts it.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace

from ondevice.domain.cost import Price
from ondevice.domain.generation import (
    ChatMessage,
    EngineInfo,
    EngineNotice,
    FinishReason,
    GenerationRequest,
    LoadOptions,
    PrefillProgress,
    Prompt,
    Sampling,
    TextDelta,
)
from ondevice.domain.measured import Measured
from ondevice.domain.model import ModelFile
from ondevice.domain.session import MessageState, Session, StoredMessage
from ondevice.engines import registry
from ondevice.engines.base import Engine, LoadProgress, no_progress
from ondevice.errors import (
    EngineClosed,
    EngineCrashed,
    EngineTimedOut,
    OnDeviceError,
    StorageTrouble,
)
from ondevice.measure import MeasureEvent, measure
from ondevice.storage.sessions import Sessions

SAVE_EVERY_S = 1.0
ENGINE_GONE = (EngineCrashed, EngineTimedOut, EngineClosed)
"""After one of these in a turn no engine runs; the model is to be loaded again."""


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
        file: ModelFile,
        price: Price | None = None,
        sampling: Sampling | None = None,
        max_tokens: int = 1024,
    ) -> Iterator[ChatEvent]:
        """Store `text`, answer it, store the answer.

        Yields Stored for the question, the events of `measure`, then Stored for the answer.
        Raises what the engine raises, after the part that came is stored as interrupted.
        """
        kept = yield from self._add_question(text)
        system = self.session.system_prompt if self.session else ""
        request = GenerationRequest(self.prompt(system), sampling or Sampling(), max_tokens)
        answer = _Answer(self._sessions if kept else None, self.session, file.name)
        try:
            for event in measure(engine, info, request, price, file.random_weights):
                notices = answer.note(event)  # first: what was seen is kept, also by who stops here
                yield event
                yield from notices
        except OnDeviceError:
            answer.ending = "failed"
            raise
        finally:
            self.messages.append(answer.close())
        yield from answer.notices()
        yield Stored(self.messages[-1])

    def _add_question(self, text: str) -> Generator[ChatEvent, None, bool]:
        """Returns whether it is durable; an answer without its question is not stored either."""
        message, kept = StoredMessage(0, 0, "user", text, "complete"), False
        if self._sessions is not None:
            try:
                if self.session is None:
                    self.session = self._sessions.create(text)
                message, kept = self._sessions.add(self.session.id, "user", text), True
            except StorageTrouble as error:
                yield _unsaved(error)
        self.messages.append(message)
        yield Stored(message)
        return kept


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
        self._cancelled = False
        """The turn is to stop, also where its engine has not begun yet."""

    def load(
        self, file: ModelFile, options: LoadOptions, progress: LoadProgress = no_progress
    ) -> EngineInfo:
        """Make `file` the model of the next turn; the conversation stays.

        Raises EngineClosed where a later call took its place, what an engine raises otherwise.
        """
        if self._engine is None or self.file is None or self.file.engine != file.engine:
            self.close()
            self._engine = registry.in_child(file.engine)
        self.file, self.info = file, None
        info = self._engine.load(file, options, progress)
        if self.file is not file:
            raise EngineClosed("another model was chosen meanwhile")
        self.info = info
        return info

    def send(self, text: str, sampling: Sampling, max_tokens: int) -> Iterator[ChatEvent]:
        """One turn, see `Conversation.send`; from this call on `cancel` stops it."""
        self._cancelled = False
        return self._turn(text, sampling, max_tokens)

    def _turn(self, text: str, sampling: Sampling, max_tokens: int) -> Iterator[ChatEvent]:
        engine, info, file = self._engine, self.info, self.file
        if engine is None or info is None or file is None:
            raise EngineClosed("no model is loaded", hint="Choose one first.")
        events = self.conversation.send(
            engine,
            info,
            text,
            file=file,
            price=self.price,
            sampling=sampling,
            max_tokens=max_tokens,
        )
        told = False
        try:
            for event in events:
                begun = isinstance(event, PrefillProgress | TextDelta)
                if begun and self._cancelled and not told:  # before, the engine would not hear it
                    engine.cancel()
                    told = True
                yield event
        except ENGINE_GONE:
            self.info = None
            raise

    def open(self, session: Session | None) -> None:
        """Go on with a stored session, or begin a new one."""
        self.conversation = Conversation(self._sessions, session)

    def cancel(self) -> None:
        """Stop the turn; what there is of its answer is kept."""
        self._cancelled = True
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
        self.ending: FinishReason = "cancelled"
        """Until its engine, or an error, says otherwise."""
        self._pieces: list[str] = []
        self._measured: Measured | None = None
        self._saved = time.monotonic()
        self._said = False
        self._trouble: list[EngineNotice] = []
        self._sessions: Sessions | None = None
        self._growing: Sessions | None = None
        """Where parts are saved; None after the first that was refused."""
        self._message = StoredMessage(0, 0, "assistant", "", "streaming", model)
        if sessions is not None and session is not None:
            try:
                self._message = sessions.add(session.id, "assistant", "", "streaming", model)
                self._sessions = self._growing = sessions
            except StorageTrouble as error:
                self._note_trouble(error)

    def note(self, event: MeasureEvent) -> Sequence[EngineNotice]:
        """Account for one event; the row is brought up to date now and then."""
        if isinstance(event, Measured):
            self._measured, self.ending = event, event.done.finish_reason
        if isinstance(event, TextDelta):
            self._pieces.append(event.text)
            self._save_part()
        return self.notices()

    def notices(self) -> Sequence[EngineNotice]:
        """Trouble with storing, said once."""
        trouble, self._trouble = self._trouble, []
        return trouble

    def close(self) -> StoredMessage:
        """The answer as it stands; interrupted unless it ended by itself."""
        text = "".join(self._pieces)
        halted = self.ending in ("cancelled", "failed")
        state: MessageState = "interrupted" if halted else "complete"
        if self._sessions is not None:  # tried also when a part was refused: that may have passed
            try:
                return self._sessions.finish(
                    self._message.id, text, state, self.ending, self._measured
                )
            except StorageTrouble as error:
                self._note_trouble(error)
        return _in_memory(self._message, text, state, self.ending, self._measured)

    def _save_part(self) -> None:
        now = time.monotonic()
        if self._growing is None or now - self._saved < SAVE_EVERY_S:
            return
        self._saved = now
        try:
            self._growing.save_part(self._message.id, "".join(self._pieces))
        except StorageTrouble as error:
            self._growing = None  # not again: a refusal can take seconds, and text is waiting
            self._note_trouble(error)

    def _note_trouble(self, error: StorageTrouble) -> None:
        if not self._said:
            self._trouble.append(_unsaved(error))
        self._said = True


def _in_memory(
    message: StoredMessage,
    text: str,
    state: MessageState,
    ending: FinishReason,
    measured: Measured | None,
) -> StoredMessage:
    """The answer with the numbers that storing it would have given it."""
    done = measured.done if measured else None
    return replace(
        message,
        content=text,
        state=state,
        finish_reason=ending,
        completion_tokens=done.usage.completion_tokens if done else 0,
        decode_tok_per_s=done.decode_tok_per_s if done else None,
    )


def _unsaved(error: StorageTrouble) -> EngineNotice:
    return EngineNotice("storage", f"this conversation is not being saved: {error.message}")
