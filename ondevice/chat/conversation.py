"""The messages of one session as a tree, and its turns.

The user's message is durable before generation starts; an answer is stored as it grows, and half
of one is kept and marked, whatever interrupts it. Nothing replaces a message: an edited question
and a second answer stand beside the first, and only the shown path changes.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ondevice.chat.answer import REFUSED, Answer, TurnOptions, unsaved
from ondevice.chat.attach import attachments_of
from ondevice.chat.shown import prompt_of
from ondevice.domain.generation import Attachment, EngineNotice, GenerationRequest, Prompt
from ondevice.domain.session import (
    Places,
    Session,
    SessionTree,
    StoredMessage,
    beside,
    end_below,
    leaves,
    path_to,
    places,
)
from ondevice.domain.text import storable
from ondevice.domain.thinking import USUAL, ThinkingStyle
from ondevice.errors import OnDeviceError, StorageTrouble, UnknownSession, UsageTrouble
from ondevice.measure import MeasureEvent
from ondevice.storage.sessions import Sessions, title_of


@dataclass(frozen=True, slots=True)
class Stored:
    """A message is as safe as it will be: durable, or, after a notice, only in memory."""

    message: StoredMessage


ChatEvent = Stored | MeasureEvent


class Conversation:
    """One session. `sessions=None` makes it private: it leaves no byte on the disk."""

    def __init__(
        self,
        sessions: Sessions | None,
        session: Session | None = None,
        system_prompt: str = "",
    ) -> None:
        """Go on with `session`, or begin a new one with `system_prompt`. Raises StorageTrouble."""
        self._sessions = sessions
        self.session = session
        """None until the first message was stored."""
        self._tree: dict[int, StoredMessage] = {}
        self._head: int | None = None
        self._prompt = storable(system_prompt)
        """The system prompt of a session that is not stored."""
        self._memory_ids = itertools.count(-1, -1)
        if sessions is not None and session is not None:
            tree = sessions.tree(session.id)
            self.session, self._head = tree.session, tree.head_id
            self._tree = {message.id: message for message in tree.messages}

    # What there is

    @property
    def messages(self) -> list[StoredMessage]:
        """The path that is shown, in order."""
        return path_to(self._head, self._tree)

    @property
    def is_kept(self) -> bool:
        """Whether its messages are stored; those of a private one are not."""
        return self._sessions is not None

    def beside(self, message: StoredMessage) -> list[StoredMessage]:
        """The message and what stands in its place on other paths, the oldest first."""
        return beside(message, list(self._tree.values()))

    def places(self) -> Places:
        """Which of how many a message is, where several stand in its place."""
        return places(list(self._tree.values()))

    def end_below(self, message_id: int) -> int:
        """Where the newest path through a message ends, see `go_to`."""
        return end_below(message_id, list(self._tree.values()))

    def leaves(self) -> list[StoredMessage]:
        """The last messages of all paths, the newest first."""
        return leaves(self._tree.values())

    @property
    def tree(self) -> SessionTree:
        """All paths, for an export."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        nameless = Session(0, self._title, now, self._prompt)
        return SessionTree(self.session or nameless, tuple(self._tree.values()), self._head)

    @property
    def is_new(self) -> bool:
        """Whether nothing was said and nothing is stored yet."""
        return self.session is None and not self._tree

    @property
    def system_prompt(self) -> str:
        return self.session.system_prompt if self.session else self._prompt

    def prompt(self, system: str = "", thinking: ThinkingStyle = USUAL) -> Prompt:
        """What the model is shown of it, see `shown.prompt_of`."""
        return prompt_of(self.messages, system, thinking)

    # What can be changed

    def set_system_prompt(self, text: str) -> None:
        """What the model is told from the next turn on; kept with the session."""
        if self.session is not None and self._sessions is not None:
            self.session = self._sessions.set_system_prompt(self.session.id, text)
        else:
            self._prompt = storable(text)

    def go_to(self, message_id: int | None) -> None:
        """Show the path to this message, and go on from there; None begins anew.

        A branch is this with an earlier message, going back to another path this with its leaf.
        """
        self._message(message_id)
        if self.session is not None and self._sessions is not None:
            self._sessions.move_head(self.session.id, self._stored(message_id))
        self._head = message_id

    def mark_useful(self, message_id: int, useful: bool = True) -> StoredMessage:
        """Note what the person thinks of an answer; the ledger divides by it."""
        message = self._message(message_id)
        if message is None or message.role != "assistant":
            raise UsageTrouble("this is no answer", hint="Only an answer can be marked useful.")
        if self._sessions is not None and self._is_stored(message):
            self._sessions.mark_useful(message_id, useful)
        self._tree[message_id] = marked = replace(message, useful=useful)
        return marked

    def cut(self, kept_from: int, text: str, model: str, after: int | None) -> StoredMessage:
        """From message `kept_from` on the model is shown the path, and `text` in the place of what
        is before; it stands behind message `after`. Going back to that one undoes it.

        Raises StorageTrouble, and then nothing has changed.
        """
        given = StoredMessage(0, 0, "system", text, "complete", model, kept_from=kept_from)
        around = [self._message(each) for each in (after, kept_from)]
        stored = all(each is not None and self._is_stored(each) for each in around)
        if self._sessions is not None and self.session is not None and stored:
            given = self._sessions.add(
                self.session.id, "system", text, model=model, after=after, kept_from=kept_from
            )
        return self._show(given, after)

    # Turns. Each yields Stored for the question if there is a new one, the events of `measure`,
    # then Stored for the answer. Each raises what the engine raises, after the part that came is
    # stored as interrupted; what the engine took nothing of is not shown then.

    def send(self, text: str, options: TurnOptions) -> Iterator[ChatEvent]:
        """Store `text` with the files it names, answer it, store the answer.

        Raises NotAttached, and then nothing was stored.
        """
        yield from self._ask(text, self._head, options)

    def resend(self, question_id: int, text: str, options: TurnOptions) -> Iterator[ChatEvent]:
        """Ask `text` in the place of a question; that one and what followed it stay."""
        yield from self._ask(text, self.behind(question_id), options)

    def answer_again(self, message_id: int, options: TurnOptions) -> Iterator[ChatEvent]:
        """Make another answer to a question, or to that of an answer; the first one stays.

        To a cut behind a question: answer that, with what the cut leaves.
        """
        question = self._message(message_id)
        while question is not None and question.role == "assistant":
            question = self._message(question.parent_id)
        asked = question
        while asked is not None and asked.role == "system":
            asked = self._message(asked.parent_id)
        if question is None or asked is None or asked.role != "user":
            raise UsageTrouble("there is no question to answer", hint="Write one first.")
        with self.back_if_refused(""):
            self._head = question.id
            yield from self._answer(question, self._is_stored(question), options)

    def _ask(self, text: str, after: int | None, options: TurnOptions) -> Iterator[ChatEvent]:
        attached = attachments_of(text, options.folder)
        with self.back_if_refused(text):
            question = yield from self.keep(text, attached, after)
            yield from self._answer(question, self._is_stored(question), options)

    @contextmanager
    def back_if_refused(self, text: str) -> Iterator[None]:
        """What the engine takes nothing of stays on a path of its own, and its question is given
        back with the error: joined to the next one, it would have that refused as well."""
        shown = self._head
        try:
            yield
        except REFUSED as error:
            error.question = text
            self._head = shown
            with suppress(StorageTrouble):  # then the next message says where it stands
                self.go_to(shown)
            raise

    def behind(self, question_id: int | None) -> int | None:
        """After which message a question comes in the place of this one; of None, a new one."""
        if question_id is None:
            return self._head
        question = self._message(question_id)
        if question is None or question.role != "user":
            raise UsageTrouble("this is no question", hint="Only a question can be asked anew.")
        return question.parent_id

    def keep(
        self, text: str, attached: tuple[Attachment, ...], after: int | None
    ) -> Generator[ChatEvent, None, StoredMessage]:
        """Store a question. It is durable unless trouble is told; nor is its answer stored then."""
        question = StoredMessage(0, 0, "user", text, "complete", attached=attached)
        trouble: list[EngineNotice] = []
        if self._sessions is not None:
            try:
                if self.session is None:
                    self.session = self._sessions.create(text, self._prompt)
                row = self._stored(after) or 0
                question = self._sessions.add(
                    self.session.id, "user", text, after=row, attached=attached
                )
            except StorageTrouble as error:
                trouble.append(unsaved(error))
        question = self._show(question, after)
        yield from trouble
        yield Stored(question)
        return question

    def _answer(
        self, question: StoredMessage, kept: bool, options: TurnOptions
    ) -> Iterator[ChatEvent]:
        request = GenerationRequest(
            prompt=self.prompt(self.system_prompt, options.info.thinking),
            sampling=options.sampling,
            max_tokens=options.max_tokens,
            schema=options.schema,
        )
        answer = Answer(self._sessions if kept else None, question, options)
        try:
            yield from options.prepare()
            for event in answer.measured(request):
                notices = answer.note(event)  # first: what was seen is kept, also by who stops here
                yield event
                yield from notices
        except OnDeviceError:
            answer.ending = "failed"
            raise
        finally:
            shown = self._show(answer.close(), question.id)
        yield from answer.notices()
        yield Stored(shown)

    # The tree

    def _show(self, message: StoredMessage, after: int | None) -> StoredMessage:
        """Put it into the tree, behind `after`, and show the path to it."""
        number = message.id or next(self._memory_ids)
        message = replace(message, id=number, parent_id=after)
        self._tree[number] = message
        self._head = number
        return message

    def _message(self, message_id: int | None) -> StoredMessage | None:
        """Raises UnknownSession."""
        if message_id is None:
            return None
        if message_id not in self._tree:
            raise UnknownSession(f"this conversation has no message {message_id}")
        return self._tree[message_id]

    def _stored(self, message_id: int | None) -> int | None:
        """The last message with a row on the path to this one."""
        path = path_to(message_id, self._tree)
        return next((each.id for each in reversed(path) if self._is_stored(each)), None)

    @staticmethod
    def _is_stored(message: StoredMessage) -> bool:
        return message.id > 0

    @property
    def _title(self) -> str:
        """As a stored session is called."""
        asked = (each.content for each in self._tree.values() if each.role == "user")
        return title_of(next(asked, ""))
