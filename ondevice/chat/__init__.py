"""One turn that a person keeps: context, measure, store.

conversation.py   the messages of one session as a tree, and its turns
answer.py         the growing answer: kept as it is made, and accounted for when it ends
chat.py           a model, its engine and a conversation: what a screen or a line mode drives
keeping.py        what is done with the sessions that are kept
transfer.py       a session as Markdown or JSON, and back from JSON
"""

from ondevice.chat.answer import TurnOptions
from ondevice.chat.chat import ENGINE_GONE, Chat
from ondevice.chat.conversation import ChatEvent, Conversation, Stored
from ondevice.chat.keeping import Keeping

__all__ = ["ENGINE_GONE", "Chat", "ChatEvent", "Conversation", "Keeping", "Stored", "TurnOptions"]
