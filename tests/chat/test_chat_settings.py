"""What the settings say reaches the turns; what a model thought stays out of later prompts."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from chatting import load, open_chat, say

from ondevice.chat import Chat
from ondevice.domain.electricity import Power, estimated
from ondevice.domain.generation import GREEDY, ChatMessage, LoadOptions
from ondevice.domain.model import ModelFile
from ondevice.domain.thinking import ThinkingStyle
from ondevice.settings import Settings
from ondevice.storage.database import Database
from ondevice.storage.ledger import Ledger
from ondevice.storage.sessions import Sessions

TUTOR = Settings(system="tutor", presets={"tutor": "Explain it.", "brief": "Be brief."})
THOUGHT = ["<think>", "hm, ", "hm", "</think>", "\n\n", "yes"]


class TestTheSystemPrompt:
    def test_of_new_sessions_is_the_settings(
        self, chat: Chat, database: Database, tmp_path: Path
    ) -> None:
        chat.use(TUTOR)
        load(chat, tmp_path)
        list(say(chat))
        assert chat.conversation.prompt(chat.conversation.system_prompt).messages[0] == ChatMessage(
            "system", "Explain it."
        )
        (session,) = Sessions(database).recent()
        assert session.system_prompt == "Explain it."

    def test_of_a_session_that_began_stays(self, chat: Chat, tmp_path: Path) -> None:
        load(chat, tmp_path)
        list(say(chat))
        chat.use(TUTOR)
        assert chat.conversation.system_prompt == ""
        chat.open(None)
        assert chat.conversation.system_prompt == "Explain it."

    def test_that_was_given_to_an_empty_session_stays(self, chat: Chat) -> None:
        chat.conversation.set_system_prompt("Be kind.")
        chat.use(TUTOR)
        assert chat.conversation.system_prompt == "Be kind."

    @pytest.mark.parametrize(
        ("words", "text"),
        [("brief", "Be brief."), ("Rhyme.", "Rhyme."), ("", "")],
        ids=["a preset", "a text", "none"],
    )
    def test_can_be_chosen_for_one_session(self, words: str, text: str, chat: Chat) -> None:
        chat.use(TUTOR)
        chat.open(None, private=True, system=words)
        assert chat.conversation.system_prompt == text


class TestElectricity:
    def test_that_is_stated_is_in_the_ledger(self, database: Database, starter_path: Path) -> None:
        with open_chat(Sessions(database)) as chat:
            chat.use(Settings(watts=Decimal("30"), tariff_usd_per_kwh=Decimal("0.31")))
            chat.load(ModelFile(starter_path, "llama.cpp", "starter"), LoadOptions(n_ctx=512))
            list(chat.send("Say yes.", GREEDY, 4))
            chat.use(Settings())
            list(chat.send("Say no.", GREEDY, 4))
        known, unknown = Ledger(database).entries()
        assert known.electricity == estimated(Power(30.0, Decimal("0.31")), known.seconds)
        assert (unknown.electricity.tier, unknown.electricity.usd) == ("unknown", None)

    def test_needs_watts_and_a_tariff_for_a_cost(self) -> None:
        assert Settings(tariff_usd_per_kwh=Decimal("0.31")).power is None
        assert Settings(watts=Decimal("0")).power == Power(0.0)


class TestThinking:
    def test_is_kept_with_the_answer_and_left_out_of_later_prompts(
        self, chat: Chat, tmp_path: Path
    ) -> None:
        load(chat, tmp_path, pieces=THOUGHT)
        list(say(chat, "first"))
        assert chat.conversation.messages[-1].content == "".join(THOUGHT)
        assert chat.conversation.prompt().messages == (
            ChatMessage("user", "first"),
            ChatMessage("assistant", "yes"),
        )

    def test_is_given_to_a_template_that_leaves_it_out_itself(
        self, chat: Chat, tmp_path: Path
    ) -> None:
        load(chat, tmp_path, pieces=THOUGHT)
        list(say(chat, "first"))
        style = ThinkingStyle(stripped_by_template=True)
        assert chat.conversation.prompt(thinking=style).messages[-1].content == "".join(THOUGHT)

    @pytest.mark.parametrize("made", range(1, 4))
    def test_without_an_answer_is_no_message(self, made: int, chat: Chat, tmp_path: Path) -> None:
        load(chat, tmp_path, pieces=THOUGHT[:made])
        list(say(chat, "first"))
        load(chat, tmp_path)
        list(say(chat, "second"))
        assert chat.conversation.prompt().messages[0] == ChatMessage("user", "first\n\nsecond")
