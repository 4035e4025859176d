"""The meter of reuse says what the engine's own numbers say, and why a turn missed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chatting import last, open_chat

from ondevice.chat import Chat, ChatEvent
from ondevice.domain.generation import GREEDY, LoadOptions
from ondevice.domain.measured import Measured
from ondevice.domain.model import ModelFile

STORY = "Once there was a river that ran to the sea. " * 20


@pytest.fixture
def real(either_file: ModelFile) -> Iterator[Chat]:
    with open_chat(None) as chat:
        chat.load(either_file, LoadOptions(n_ctx=1024))
        yield chat


def ask(chat: Chat, text: str) -> Measured:
    events: list[ChatEvent] = list(chat.send(text, GREEDY, 4))
    (measured,) = [event for event in events if isinstance(event, Measured)]
    return measured


def test_a_turn_saves_what_it_did_not_read_again(real: Chat) -> None:
    first = ask(real, STORY).done
    assert (real.reuse.last.tokens, real.reuse.last.missed) == (0, "")
    ask(real, "And then?")
    saved = real.reuse.last
    assert saved.tokens == last(real).cached_tokens >= first.usage.prompt_tokens
    assert first.prefill_tok_per_s is not None
    assert saved.seconds == pytest.approx(saved.tokens / first.prefill_tok_per_s)
    assert real.reuse.total == saved


def test_a_turn_that_misses_says_why(real: Chat) -> None:
    ask(real, STORY)
    real.open(None, private=True)
    ask(real, "What is the capital of France?")
    assert "could not be reused: this prompt is another one from token" in real.reuse.last.missed
    ask(real, "And of Spain?")
    assert real.reuse.last.missed == ""
    assert real.reuse.total.tokens > real.reuse.last.tokens
