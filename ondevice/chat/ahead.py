"""Questions that are stored before anything answers them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ondevice.chat.attach import attachments_of
from ondevice.chat.chat import Chat
from ondevice.chat.conversation import ChatEvent, Stored
from ondevice.domain.generation import Sampling
from ondevice.errors import NotAttached


def send_ahead(
    chat: Chat,
    text: str,
    sampling: Sampling,
    max_tokens: int,
    loaded: Callable[[], bool],
    instead_of: int | None = None,
) -> Iterator[ChatEvent]:
    """Ask `text` while the model is loaded: it is stored at once and answered after that.

    `loaded` blocks until then; False leaves the question without an answer, and NotLoaded of it
    gives the question back. It comes in the place of the question `instead_of`, if that is given.
    From this call on `cancel` stops the turn.
    """
    shown, asked = chat.conversation, list[int]()
    answering = chat.turn(lambda o: shown.answer_again(asked[0], o), sampling, max_tokens)
    return _ahead(chat, text, instead_of, asked, loaded, answering)


def _ahead(
    chat: Chat,
    text: str,
    instead_of: int | None,
    asked: list[int],
    loaded: Callable[[], bool],
    answering: Iterator[ChatEvent],
) -> Iterator[ChatEvent]:
    shown = chat.conversation
    attached, after = attachments_of(text, chat.folder), shown.behind(instead_of)
    with shown.back_if_refused(text):
        question = yield from shown.keep(text, attached, after)
        asked.append(question.id)
        if loaded():
            yield from answering


def keep(chat: Chat, text: str, instead_of: int | None = None) -> bool:
    """Store `text` as a question that is yet to be answered, in the place of another one if that is
    given, with the files it names if they can be read; whether that is done. What is private is
    never stored.
    """
    try:
        attached = attachments_of(text, chat.folder)
    except NotAttached:
        attached = ()
    shown = chat.conversation
    kept = shown.keep(text, attached, shown.behind(instead_of))
    stored = [event for event in kept if isinstance(event, Stored)]
    return not shown.is_kept or all(event.message.id > 0 for event in stored)
