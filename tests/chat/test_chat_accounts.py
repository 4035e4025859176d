"""What a turn with a real model used is in the ledger; an echo and noise never are."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from chatting import LONG, load, open_chat, say, until_text
from echoing import PRICE

from ondevice.chat import Chat
from ondevice.domain.cost import cost_avoided
from ondevice.domain.electricity import Power, estimated
from ondevice.domain.generation import GREEDY, LoadOptions, PrefillProgress, TextDelta
from ondevice.domain.ledger import Entry
from ondevice.domain.measured import Measured
from ondevice.domain.model import ModelFile
from ondevice.errors import EngineCrashed
from ondevice.storage.database import Database
from ondevice.storage.ledger import Ledger
from ondevice.storage.sessions import Sessions

POWER = Power(30.0, Decimal("0.31"))


@pytest.fixture
def real(database: Database, either_file: ModelFile) -> Iterator[Chat]:
    """A chat with the starter model, which knows price and power."""
    with open_chat(Sessions(database)) as chat:
        chat.power = POWER
        chat.load(either_file, LoadOptions(n_ctx=512))
        yield chat


def entries(database: Database) -> list[Entry]:
    return Ledger(database).entries()


def test_an_answer_is_one_entry_with_what_the_engine_counted(
    real: Chat, database: Database
) -> None:
    events = list(real.send("What is the capital of France?", GREEDY, 8))
    (measured,) = [event for event in events if isinstance(event, Measured)]
    (entry,) = entries(database)
    assert entry.usage == measured.done.usage
    assert entry.usage.completion_tokens > 0
    assert entry.usd == cost_avoided(entry.usage, PRICE).usd
    assert (entry.baseline, entry.model, entry.billable) == ("test", "starter", True)
    assert entry.seconds == measured.done.timings.busy_s
    assert entry.electricity == estimated(POWER, entry.seconds) == measured.electricity
    assert measured.cost is not None
    assert measured.cost.net_usd == entry.usd - (entry.electricity.usd or 0)


def test_every_turn_is_an_entry_also_a_second_answer(real: Chat, database: Database) -> None:
    list(real.send("Say yes.", GREEDY, 4))
    first = real.conversation.messages[-1]
    list(real.answer_again(first.id, GREEDY, 4))
    list(real.resend(real.conversation.messages[0].id, "Say no.", GREEDY, 4))
    assert len(entries(database)) == 3
    assert entries(database)[1].usage.cached_tokens > 0


@pytest.mark.parametrize("private", [False, True], ids=["stored", "private"])
def test_the_model_reads_the_system_prompt(private: bool, real: Chat) -> None:
    read = []
    for prompt in ("Be brief.", "Be brief. Be very, very brief."):
        real.open(None, private)
        real.conversation.set_system_prompt(prompt)
        list(real.send("Say yes.", GREEDY, 2))
        read.append(real.conversation.messages[-1].prompt_tokens)
    assert read[0] < read[1]


class TestAnInterruptedAnswer:
    def test_counts_the_tokens_that_the_engine_made(self, real: Chat, database: Database) -> None:
        events = real.send("Tell me a long story.", GREEDY, 400)
        until_text(events)
        real.cancel()
        list(events)
        (entry,) = entries(database)
        answer = real.conversation.messages[-1]
        assert answer.state == "interrupted"
        assert 0 < entry.usage.completion_tokens == answer.completion_tokens < 400
        assert entry.usd == cost_avoided(entry.usage, PRICE).usd

    def test_stopped_while_the_prompt_is_read_counts_what_was_read(
        self, real: Chat, database: Database
    ) -> None:
        seen = []
        for event in real.send("Once there was a river. " * 70, GREEDY, 400):
            if isinstance(event, PrefillProgress):
                seen.append(event)
                real.cancel()
        (entry,) = entries(database)
        assert entry.usage.completion_tokens == entry.usage.cached_tokens == 0
        assert seen[-1].done_tokens <= entry.usage.prompt_tokens < seen[-1].total_tokens
        assert (entry.usd, entry.billable) == (0, False)
        assert entry.seconds is not None
        assert entry.electricity == estimated(POWER, entry.seconds)

    def test_that_nobody_waits_for_counts_what_was_seen(
        self, real: Chat, database: Database
    ) -> None:
        events = real.send("Tell me a long story.", GREEDY, 400)
        seen = [event for event in until_text(events) if isinstance(event, TextDelta)]
        events.close()  # type: ignore[attr-defined]
        (entry,) = entries(database)
        assert entry.usage.completion_tokens == seen[-1].completion_tokens
        assert entry.usage.prompt_tokens == seen[-1].context_tokens - seen[-1].completion_tokens
        assert (entry.billable, entry.electricity.tier) == (True, "estimated")

    def test_of_a_killed_engine_counts_its_tokens_and_avoids_nothing(
        self, real: Chat, database: Database
    ) -> None:
        assert real.info is not None
        events = real.send("Tell me a long story.", GREEDY, 400)
        until_text(events)
        os.kill(real.info.pid, signal.SIGKILL)
        with pytest.raises(EngineCrashed):
            list(events)
        (entry,) = entries(database)
        assert entry.usage.completion_tokens > 0
        assert (entry.billable, entry.usd) == (False, 0)


@pytest.mark.parametrize("random_weights", [False, True], ids=["an echo", "noise"])
def test_what_is_no_model_is_not_counted(
    random_weights: bool, chat: Chat, database: Database, tmp_path: Path
) -> None:
    load(chat, tmp_path, random_weights)
    list(say(chat))
    load(chat, tmp_path, random_weights, **LONG)
    events = say(chat)
    until_text(events)
    events.close()  # type: ignore[attr-defined]
    assert entries(database) == []
    assert chat.conversation.messages[-1].completion_tokens > 0  # beside the answer they stand


def test_a_private_answer_is_not_counted(real: Chat, database: Database) -> None:
    real.open(None, private=True)
    list(real.send("Say yes.", GREEDY, 4))
    assert real.conversation.messages[-1].completion_tokens > 0
    assert database.rows("SELECT * FROM answer") == []
