"""A model, its engine and a conversation: what a screen or a line mode drives."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ondevice.chat.answer import TurnOptions
from ondevice.chat.conversation import ChatEvent, Conversation
from ondevice.domain.cost import Price
from ondevice.domain.electricity import Power
from ondevice.domain.generation import (
    EngineInfo,
    LoadOptions,
    PrefillProgress,
    PromptTokens,
    Sampling,
    TextDelta,
)
from ondevice.domain.model import ModelFile
from ondevice.domain.session import Session
from ondevice.engines import registry
from ondevice.engines.base import Engine, LoadProgress, no_progress
from ondevice.errors import EngineClosed, EngineCrashed, EngineTimedOut
from ondevice.storage.sessions import Sessions

ENGINE_GONE = (EngineCrashed, EngineTimedOut, EngineClosed)
"""After one of these in a turn no engine runs; the model is to be loaded again."""


class Chat:
    """`load` and the turns block, so a screen calls them from a thread; `cancel` and `close` may
    be called from any.
    """

    def __init__(
        self, sessions: Sessions | None, price: Price | None = None, power: Power | None = None
    ) -> None:
        self._sessions = sessions
        self.price = price
        self.power = power
        """What the user states about the machine's electricity."""
        self.schema: str | None = None
        """Text of a JSON schema that answers keep to."""
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
        options = TurnOptions(
            engine, info, file, sampling, max_tokens, self.price, self.power, schema=self.schema
        )
        told = False
        try:
            for event in begin(options):
                begun = isinstance(event, PrefillProgress | TextDelta)
                if begun and self._cancelled and not told:  # before, the engine would not hear it
                    engine.cancel()
                    told = True
                yield event
        except ENGINE_GONE:
            self.info = None
            raise

    def count(self) -> PromptTokens:
        """What the next prompt holds by now, in tokens. Raises what the engine raises."""
        conversation = self.conversation
        prompt = conversation.prompt(conversation.system_prompt)
        if not prompt.messages:
            return PromptTokens()
        if self._engine is None or self.info is None:
            raise EngineClosed("no model is loaded", hint="Choose one first.")
        return self._engine.count_tokens(prompt)

    def open(self, session: Session | None, private: bool = False) -> None:
        """Go on with a stored session, or begin a new one; a private one is never stored."""
        self.conversation = Conversation(None if private else self._sessions, session)

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
