"""One turn that a person keeps: context, measure, store.

conversation.py   the messages of one session as a tree, and its turns
answer.py         the growing answer: kept as it is made, and accounted for when it ends
shown.py          what the model is shown of a conversation
attach.py         files that a question names
ahead.py          questions that are stored before anything answers them
chat.py           a model, its engine and a conversation: what a screen or a line mode drives
served.py         the model that answers, and the engine it runs in
filling.py        what the context is filled with
prefixes.py       what a model has read of a session, kept over the end of its engine
watching.py       what the events of a turn say of the engine
room.py           making room in a context: what can be done, and doing it
schemas.py        a JSON schema that answers keep to
cutting.py        where to cut a conversation, and what stands in the place of what is left out
keeping.py        what is done with the sessions that are kept
copying.py        what is copied, where it goes, and what is said of that
transfer.py       a session as Markdown or JSON, and back from JSON
"""

from ondevice.chat.answer import REFUSED, TurnOptions
from ondevice.chat.chat import Chat
from ondevice.chat.conversation import ChatEvent, Conversation, Stored
from ondevice.chat.keeping import Keeping
from ondevice.chat.watching import ENGINE_GONE

__all__ = [
    "ENGINE_GONE",
    "REFUSED",
    "Chat",
    "ChatEvent",
    "Conversation",
    "Keeping",
    "Stored",
    "TurnOptions",
]
