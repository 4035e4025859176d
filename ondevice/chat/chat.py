"""A model, its engine and a conversation: what a screen or a line mode drives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ondevice.chat.answer import REFUSED, TurnOptions
from ondevice.chat.attach import attachments_of
from ondevice.chat.conversation import ChatEvent, Conversation
from ondevice.chat.filling import Filling
from ondevice.chat.prefixes import ModelHash, MostBytes, Prefixes
from ondevice.chat.served import Served
from ondevice.chat.shown import prompt_of
from ondevice.chat.watching import ENGINE_GONE, watched
from ondevice.domain.context import ContextParts
from ondevice.domain.cost import Price
from ondevice.domain.electricity import Power
from ondevice.domain.generation import EngineInfo, EngineNotice, LoadOptions, PromptTokens, Sampling
from ondevice.domain.model import ModelFile
from ondevice.domain.reuse import ReuseMeter
from ondevice.domain.session import Session, StoredMessage
from ondevice.engines.base import Engine, LoadProgress, no_progress
from ondevice.errors import EngineClosed, EngineTrouble, OnDeviceError
from ondevice.settings import Settings
from ondevice.storage.sessions import Sessions

LEAVE_S = 0.8
"""Longest that leaving waits for a state to be saved; 44 MB, the starter's of 2,000 tokens, took
0.2 to 0.5 s on a busy machine of two cores."""
GIVE_UP_S = 0.2
Begin = Callable[[TurnOptions], Iterator[ChatEvent]]


class Chat:
    """`load`, the turns, and what counts tokens block, so a screen calls them from a thread;
    `cancel`, `leave` and `close` may be called from any.
    """

    def __init__(
        self,
        sessions: Sessions | None,
        price: Price | None = None,
        power: Power | None = None,
        model_hash: ModelHash | None = None,
        most_bytes: MostBytes | None = None,
    ) -> None:
        """Without `model_hash` nothing of what a model read is kept over the end of its engine."""
        self._sessions = sessions
        self._prefixes = Prefixes(sessions, model_hash, most_bytes)
        self._settings = Settings()
        self.price = price
        self.power = power
        """What the user states about the machine's electricity."""
        self.folder = Path()
        """Where the files are that a question names: the current one."""
        self.schema: str | None = None
        """Text of a JSON schema that answers keep to."""
        self.conversation = Conversation(sessions)
        self._served = Served()
        self._filling = Filling(self.parts_of)
        self.reuse = ReuseMeter()
        self._untold: list[EngineNotice] = []
        """What came up between two turns."""
        self._quiet = threading.RLock()
        """Held while the engine is asked for something that is no turn."""
        self._answering = self._asked = False
        """Whether the engine makes an answer; whether one is due, such as after a load."""
        self._leaving = threading.Lock()
        self._cancelled = False
        """The turn is to stop, also where its engine has not begun yet."""

    def use(self, settings: Settings) -> None:
        """What the settings say about new sessions, electricity and the disk holds from now on.

        A session that is new and empty is a new one still.
        """
        before, self._settings = self._settings, settings
        self.power = settings.power
        self._prefixes.use(settings.most_state_bytes)
        shown = self.conversation
        if shown.is_new and shown.system_prompt == before.system_prompt:
            shown.set_system_prompt(settings.system_prompt)

    def load(
        self, file: ModelFile, options: LoadOptions, progress: LoadProgress = no_progress
    ) -> EngineInfo:
        """Make `file` the model of the next turn; the conversation stays, and what the model before
        has read of it is saved.

        Raises EngineClosed where a later call took its place, what an engine raises otherwise:
        `file` and `options` are then of the model before, to be loaded again.
        """
        self._prefixes.release(file)
        self._filling.now = None
        engine, info = self._served.load(file, options, progress)
        self._prefixes.serve(engine, info, file)
        self._settle_soon()
        return info

    @property
    def file(self) -> ModelFile | None:
        """The model; it answers where `info` says so."""
        return self._served.file

    @property
    def info(self) -> EngineInfo | None:
        """None until a model is loaded, and after its engine stopped."""
        return self._served.info

    @property
    def options(self) -> LoadOptions:
        """Those of the model that was loaded last."""
        return self._served.options

    # Turns, see `Conversation`; from these calls on `cancel` stops them.

    def send(self, text: str, sampling: Sampling, max_tokens: int) -> Iterator[ChatEvent]:
        """Ask `text` after what is shown."""
        return self.turn(lambda o: self.conversation.send(text, o), sampling, max_tokens)

    def resend(
        self, question_id: int, text: str, sampling: Sampling, max_tokens: int
    ) -> Iterator[ChatEvent]:
        """Ask `text` in the place of an earlier question."""
        return self.turn(
            lambda o: self.conversation.resend(question_id, text, o), sampling, max_tokens
        )

    def answer_again(
        self, message_id: int, sampling: Sampling, max_tokens: int
    ) -> Iterator[ChatEvent]:
        """Make another answer."""
        return self.turn(
            lambda o: self.conversation.answer_again(message_id, o), sampling, max_tokens
        )

    def turn(self, begin: Begin, sampling: Sampling, max_tokens: int) -> Iterator[ChatEvent]:
        """Whatever `begin` asks the engine."""
        self._cancelled, self._asked = False, True
        return self._events(begin, sampling, max_tokens)

    def _events(self, begin: Begin, sampling: Sampling, max_tokens: int) -> Iterator[ChatEvent]:
        engine, info, file = self._served.engine, self.info, self.file
        if engine is None or info is None or file is None:
            raise EngineClosed("no model is loaded", hint="Choose one first.")
        earlier = {message.id for message in self.conversation.messages}
        more = (lambda: self.price, self.power, self.schema, self.folder, self._prepare)
        options = TurnOptions(engine, info, file, sampling, max_tokens, *more)
        try:
            notes = (self.conversation, self._prefixes, self.reuse)
            yield from watched(begin(options), options, *notes, lambda: self._cancelled)
        except ENGINE_GONE:
            self._note_gone(info)
            raise
        except REFUSED:
            self._prefixes.note_refused()
            self._answering = False
            self.look()
            raise
        finally:
            self._answering = self._asked = False
        yield from self._filling.note_turn(self.conversation.messages, earlier)

    def _prepare(self) -> Sequence[EngineNotice]:
        with self._quiet:
            told = self._settle()
            self._prefixes.note_asked()
            self._answering = True
            untold, self._untold = self._untold, []
        return [*untold, *told]

    def cancel(self) -> None:
        """Stop the turn; what there is of its answer is kept."""
        self._cancelled = True
        if self._served.engine is not None:
            self._served.engine.cancel()

    # The context. While an answer is made, what counts raises EngineTrouble.

    @property
    def context(self) -> ContextParts | None:
        """What it is filled with, since the newest turn; None where that is unknown."""
        return self._filling.now

    def look(self) -> None:
        """Count what is shown, after another path or system prompt was chosen."""
        self._filling.note(self.conversation.messages)

    def count(self, text: str = "") -> ContextParts:
        """What the context would be filled with if `text` were asked now, with the files it names;
        without a text see `context`. Raises NotAttached, and EngineTrouble.
        """
        known = None if text else self.context
        return known or self.parts_of([*self.conversation.messages, *self.draft(text)])

    def draft(self, text: str) -> list[StoredMessage]:
        """`text` as the question it would be, with its files; none of an empty one.

        Raises NotAttached.
        """
        if not text:
            return []
        attached = attachments_of(text, self.folder)
        return [StoredMessage(0, 0, "user", text, "complete", attached=attached)]

    def parts_of(self, path: Sequence[StoredMessage]) -> ContextParts:
        """The same of any path."""
        with self._asking() as (engine, info):
            prompt = prompt_of(path, self.conversation.system_prompt, info.thinking)
            counted = engine.count_tokens(prompt) if prompt.messages else PromptTokens()
            return ContextParts(counted, None if info.unbounded else info.n_ctx)

    @contextmanager
    def _asking(self) -> Iterator[tuple[Engine, EngineInfo]]:
        """The engine, while no turn is made and none can begin."""
        with self._quiet:
            engine, info = self._served.engine, self.info
            if engine is None or info is None:
                raise EngineClosed("no model is loaded", hint="Choose one first.")
            if self._answering:
                raise EngineTrouble("the engine is busy", hint="Stop the running answer first.")
            try:
                yield engine, info
            except ENGINE_GONE:
                self._note_gone(info)
                raise

    def _note_gone(self, info: EngineInfo) -> None:
        """The engine of `info` runs no more; another one may be loaded by now."""
        if self.info is info:
            self._served.info = self._filling.now = None
            self._prefixes.lose()

    # Sessions, and what the model has read of them

    def open(
        self, session: Session | None, private: bool = False, system: str | None = None
    ) -> None:
        """Go on with a stored session, or begin a new one; a private one is never stored.

        `system` is the new one's system prompt, or the name of a preset; None is the settings'.
        """
        chosen = self._settings
        prompt = chosen.system_prompt if system is None else chosen.prompt_of(system)
        self.conversation = Conversation(None if private else self._sessions, session, prompt)
        self._filling.now = None
        self._settle_soon()

    def _settle(self) -> list[EngineNotice]:
        session = self.conversation.session
        return self._prefixes.settle(session.id if session else None)

    def _settle_soon(self) -> None:
        """In the background; a turn that comes first waits for it."""
        if self.info is not None:
            threading.Thread(target=self._settle_quietly, daemon=True).start()

    def _settle_quietly(self) -> None:
        with suppress(OnDeviceError), self._asking():
            try:
                self._untold += self._settle()
            except OnDeviceError as error:
                self._untold.append(EngineNotice("state", error.message))
                if isinstance(error, ENGINE_GONE):
                    raise
            self.look()
        if not self._asked:  # it takes a core and the disk from the answer
            self._prefixes.identify()

    def save(self) -> None:
        """Save what the model has read, while nobody waits: a question that comes meanwhile does
        so. Raises EngineTrouble or StorageTrouble; what cannot be saved is read again.
        """
        if not self._asked:
            self._prefixes.identify()  # here, as no question waits for it
        with self._asking():
            self._prefixes.save()

    def leave(self, within_s: float = LEAVE_S) -> None:
        """Save what the model has read, and end the engine for good; a save that takes longer is
        given up, and a load that has not begun does not begin.

        Also while another thread leaves: it returns when all is done.
        """
        self._served.refuse()
        with self._leaving:
            saving = threading.Thread(target=self._prefixes.release, daemon=True)
            saving.start()
            saving.join(within_s)
            self.close()
            saving.join(GIVE_UP_S)  # it removes the half file

    def close(self) -> None:
        """End the engine, whatever it does."""
        self._prefixes.lose()
        self._served.end()
