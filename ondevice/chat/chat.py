"""A model, its engine and a conversation: what a screen or a line mode drives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from ondevice.chat.answer import TurnOptions
from ondevice.chat.conversation import ChatEvent, Conversation
from ondevice.chat.prefixes import ModelHash, Prefixes
from ondevice.domain.cost import Price
from ondevice.domain.electricity import Power
from ondevice.domain.generation import (
    EngineInfo,
    EngineNotice,
    LoadOptions,
    PrefillProgress,
    Sampling,
    TextDelta,
)
from ondevice.domain.model import ModelFile
from ondevice.domain.session import Session
from ondevice.engines import registry
from ondevice.engines.base import Engine, LoadProgress, no_progress
from ondevice.errors import (
    ContextOverflow,
    EngineClosed,
    EngineCrashed,
    EngineTimedOut,
    OnDeviceError,
    SchemaRefused,
    TemplateFailed,
)
from ondevice.settings import Settings
from ondevice.storage.sessions import Sessions

LEAVE_S = 0.8
"""Longest that leaving waits for a state to be saved: 200 MB take half of it, measured."""
GIVE_UP_S = 0.2
REFUSED = (ContextOverflow, TemplateFailed, SchemaRefused)
"""With one of these an engine has taken nothing of what it was asked."""
ENGINE_GONE = (EngineCrashed, EngineTimedOut, EngineClosed)
"""After one of these in a turn no engine runs; the model is to be loaded again."""


class Chat:
    """`load` and the turns block, so a screen calls them from a thread; `cancel` and `close` may
    be called from any.
    """

    def __init__(
        self,
        sessions: Sessions | None,
        price: Price | None = None,
        power: Power | None = None,
        model_hash: ModelHash | None = None,
    ) -> None:
        """Without `model_hash` nothing of what a model read is kept over the end of its engine."""
        self._sessions = sessions
        self._prefixes = Prefixes(sessions, model_hash)
        self._untold: list[EngineNotice] = []
        """What came up between two turns."""
        self.price = price
        self.power = power
        """What the user states about the machine's electricity."""
        self._settings = Settings()
        self.conversation = Conversation(sessions)
        self.file: ModelFile | None = None
        self.info: EngineInfo | None = None
        """None until a model is loaded, and after its engine stopped."""
        self._engine: Engine | None = None
        self._leaving = threading.Lock()
        self._cancelled = False
        """The turn is to stop, also where its engine has not begun yet."""

    def use(self, settings: Settings) -> None:
        """What the settings say about new sessions, electricity and the disk holds from now on.

        A session that is new and empty is a new one still.
        """
        before, self._settings = self._settings, settings
        self.power = settings.power
        self._prefixes.use(settings.keep_prefixes, settings.keep_prefixes_bytes)
        shown = self.conversation
        if shown.is_new and shown.system_prompt == before.system_prompt:
            shown.set_system_prompt(settings.system_prompt)

    def load(
        self, file: ModelFile, options: LoadOptions, progress: LoadProgress = no_progress
    ) -> EngineInfo:
        """Make `file` the model of the next turn; the conversation stays, and what the model before
        has read of it is saved.

        Raises EngineClosed where a later call took its place, what an engine raises otherwise.
        """
        self._prefixes.release(file)
        if self._engine is None or self.file is None or self.file.engine != file.engine:
            self._end_engine()
            self._engine = registry.in_child(file.engine)
        self.file, self.info = file, None
        info = self._engine.load(file, options, progress)
        if self.file is not file:
            raise EngineClosed("another model was chosen meanwhile")
        self.info = info
        self._prefixes.serve(self._engine, info, file)
        self._settle_soon()
        return info

    # Turns, see `Conversation`; from these calls on `cancel` stops them.

    def send(self, text: str, sampling: Sampling, max_tokens: int) -> Iterator[ChatEvent]:
        """Ask `text` after what is shown."""
        return self._turn(lambda o: self.conversation.send(text, o), sampling, max_tokens)

    def resend(
        self, question_id: int, text: str, sampling: Sampling, max_tokens: int
    ) -> Iterator[ChatEvent]:
        """Ask `text` in the place of an earlier question."""
        return self._turn(
            lambda o: self.conversation.resend(question_id, text, o), sampling, max_tokens
        )

    def answer_again(
        self, message_id: int, sampling: Sampling, max_tokens: int
    ) -> Iterator[ChatEvent]:
        """Make another answer."""
        return self._turn(
            lambda o: self.conversation.answer_again(message_id, o), sampling, max_tokens
        )

    def _turn(
        self,
        begin: Callable[[TurnOptions], Iterator[ChatEvent]],
        sampling: Sampling,
        max_tokens: int,
    ) -> Iterator[ChatEvent]:
        self._cancelled = False
        return self._events(begin, sampling, max_tokens)

    def _events(
        self,
        begin: Callable[[TurnOptions], Iterator[ChatEvent]],
        sampling: Sampling,
        max_tokens: int,
    ) -> Iterator[ChatEvent]:
        engine, info, file = self._engine, self.info, self.file
        if engine is None or info is None or file is None:
            raise EngineClosed("no model is loaded", hint="Choose one first.")
        shown, begun, told = self.conversation, False, False
        options = TurnOptions(
            engine, info, file, sampling, max_tokens, self.price, self.power, self._prepare
        )
        try:
            for event in begin(options):
                begun = begun or isinstance(event, PrefillProgress | TextDelta)
                if begun and self._cancelled and not told:  # before, the engine would not hear it
                    engine.cancel()
                    told = True
                yield event
        except ENGINE_GONE:
            self.info = None
            self._prefixes.lose()
            raise
        except REFUSED:
            self._prefixes.note_refused()
            raise
        finally:
            if begun:
                self._prefixes.note_turn(shown.session.id if shown.session else None)

    def _prepare(self) -> Sequence[EngineNotice]:
        told = self._settle()
        self._prefixes.note_asked()
        untold, self._untold = self._untold, []
        return [*untold, *told]

    # What the model has read

    def _settle(self) -> list[EngineNotice]:
        session = self.conversation.session
        return self._prefixes.settle(session.id if session else None)

    def _settle_soon(self) -> None:
        """In the background; a turn that comes first waits for it."""
        if self._prefixes.serving:
            threading.Thread(target=self._settle_quietly, daemon=True).start()

    def _settle_quietly(self) -> None:
        try:
            self._untold += self._settle()
        except OnDeviceError as error:
            self._untold.append(EngineNotice("state", error.message))
        self._prefixes.identify()

    def open(
        self, session: Session | None, private: bool = False, system: str | None = None
    ) -> None:
        """Go on with a stored session, or begin a new one; a private one is never stored.

        `system` is the new one's system prompt, or the name of a preset; None is the settings'.
        """
        chosen = self._settings
        prompt = chosen.system_prompt if system is None else chosen.prompt_of(system)
        self.conversation = Conversation(None if private else self._sessions, session, prompt)
        self._settle_soon()

    def cancel(self) -> None:
        """Stop the turn; what there is of its answer is kept."""
        self._cancelled = True
        if self._engine is not None:
            self._engine.cancel()

    def leave(self, within_s: float = LEAVE_S) -> None:
        """Save what the model has read, and end the engine; a save that takes longer is given up.

        Also while another thread leaves: it returns when all is done.
        """
        with self._leaving:
            saving = threading.Thread(target=self._prefixes.release, daemon=True)
            saving.start()
            saving.join(within_s)
            self.close()
            saving.join(GIVE_UP_S)  # it removes the half file

    def close(self) -> None:
        """End the engine, whatever it does."""
        self._prefixes.lose()
        self._end_engine()

    def _end_engine(self) -> None:
        if self._engine is not None:
            self._engine.close()
        self._engine = self.info = None
