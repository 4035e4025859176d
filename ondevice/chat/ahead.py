"""Questions that are stored before anything answers them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ondevice.chat.attach import attachments_of
from ondevice.chat.chat import Chat
from ondevice.chat.conversation import ChatEvent, Stored
from ondevice.domain.generation import Sampling
from ondevice.errors import NotAttached


def send_ahead(
    chat: Chat, text: str, sampling: Sampling, max_tokens: int, loaded: Callable[[], bool]
) -> Iterator[ChatEvent]:
    """Ask `text` while the model is loaded: it is stored at once and answered after that.

    `loaded` blocks until then; False leaves the question without an answer, and NotLoaded of it
    gives the question back. From this call on `cancel` stops the turn.
    """
    shown, asked = chat.conversation, list[int]()
    answering = chat.turn(lambda o: shown.answer_again(asked[0], o), sampling, max_tokens)
    return _ahead(chat, text, asked, loaded, answering)


def _ahead(
    chat: Chat,
    text: str,
    asked: list[int],
    loaded: Callable[[], bool],
    answering: Iterator[ChatEvent],
) -> Iterator[ChatEvent]:
    shown = chat.conversation
    attached = attachments_of(text, chat.folder)
    with shown.back_if_refused(text):
        question = yield from shown.keep(text, attached)
        asked.append(question.id)
        if loaded():
            yield from answering


def keep(chat: Chat, text: str) -> bool:
    """Store `text` as a question that is yet to be answered, with the files it names if they can
    be read; whether that is done. What is private is never stored.
    """
    try:
        attached = attachments_of(text, chat.folder)
    except NotAttached:
        attached = ()
    shown = chat.conversation
    stored = [event for event in shown.keep(text, attached) if isinstance(event, Stored)]
    return not shown.is_kept or all(event.message.id > 0 for event in stored)
