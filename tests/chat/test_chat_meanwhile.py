"""A chat is cancelled before its engine has begun, and is given another model while one loads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from chatting import LONG, last, load, say, stored
from echoing import echo_file

from ondevice.chat import Chat, Stored
from ondevice.domain.generation import EngineInfo, LoadOptions
from ondevice.domain.model import ModelFile
from ondevice.engines.base import LoadProgress, no_progress
from ondevice.engines.process import EngineProcess
from ondevice.errors import EngineClosed, EngineCrashed, ModelLoadFailed


class TestACancel:
    @pytest.mark.parametrize("seen", [0, 1, 2], ids=["asked", "question stored", "prompt begun"])
    def test_counts_from_the_moment_of_asking(
        self, chat: Chat, path: Path, tmp_path: Path, seen: int
    ) -> None:
        load(chat, tmp_path, **LONG)
        events = say(chat)
        for _ in range(seen):
            next(events)
        chat.cancel()
        answer = list(events)[-1]
        assert isinstance(answer, Stored)
        assert (answer.message.state, answer.message.finish_reason) == ("interrupted", "cancelled")
        assert [(role, state) for role, _, state in stored(path)] == [
            ("user", "complete"),
            ("assistant", "interrupted"),
        ]

    def test_of_one_turn_does_not_stop_the_next(self, chat: Chat, tmp_path: Path) -> None:
        load(chat, tmp_path)
        list(say(chat))
        chat.cancel()
        list(say(chat, "and the next"))
        assert (last(chat).content, last(chat).state) == ("and the next", "complete")


class TestALoad:
    def test_that_fails_leaves_the_model_before_to_be_loaded_again(
        self, chat: Chat, tmp_path: Path
    ) -> None:
        first, options = echo_file(tmp_path, pieces=["first"]), LoadOptions(n_ctx=256)
        chat.load(first, options)
        with pytest.raises(EngineCrashed):
            chat.load(echo_file(tmp_path, load_signal="SIGABRT"), LoadOptions(n_ctx=512))
        assert (chat.file, chat.options, chat.info) == (first, options, None)
        chat.load(first, options)
        list(say(chat))
        assert last(chat).content == "first"

    def test_that_fails_as_the_one_before_it_did_leaves_nothing_else_to_load(
        self, chat: Chat, tmp_path: Path
    ) -> None:
        first, options = echo_file(tmp_path, pieces=["first"]), LoadOptions(n_ctx=256)
        chat.load(first, options)
        first.path.write_text("no script")
        for file in (replace(first), replace(first)):
            with pytest.raises(ModelLoadFailed):
                chat.load(file, options)
            assert chat.file is file

    def test_that_was_overtaken_changes_nothing(
        self, chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = echo_file(tmp_path), echo_file(tmp_path, pieces=["second"])

        class Overtaken(EngineProcess):
            """While its first load ends somebody chooses another model."""

            def load(
                self, file: ModelFile, options: LoadOptions, progress: LoadProgress = no_progress
            ) -> EngineInfo:
                info = super().load(file, options, progress)
                if file is first:
                    chat.load(second, options)
                return info

        monkeypatch.setattr("ondevice.engines.registry.in_child", Overtaken)
        with pytest.raises(EngineClosed, match="another model"):
            chat.load(first, LoadOptions(n_ctx=256))
        assert chat.file is second
        assert chat.info is not None
        assert chat.info.model_paths == (str(second.path),)
        list(say(chat))
        assert last(chat).content == "second"
