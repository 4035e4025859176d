"""What is kept, from a line-mode chat: deleted, taken in, found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import Cli
from line_chat import EchoChat, left, stored

from ondevice.cli.exits import Exit

SHORT = ("chat", "-t", "0", "-n", "12", "-c", "512")


def questions(home: Path) -> list[str]:
    return [content for role, content, _ in stored(home) if role == "user"]


class TestDeleteInAPipe:
    def test_takes_the_open_one_with_every_byte_and_begins_a_new_one(
        self, cli: Cli, home: Path
    ) -> None:
        told = ("-s", "Be brief.")
        asked = b"Xylophonic\n/again\n/delete yes\n/system\nAnother.\n"
        outcome = cli(*SHORT, *told, piped=asked)
        assert outcome.code == 0
        lines = outcome.err.splitlines()
        assert "    1  Xylophonic · messages: 3" in lines
        assert "Deleted: 1 conversation." in lines
        assert "System prompt: Be brief." in lines
        assert questions(home) == ["Another."]
        for file in (home / "data").rglob("*"):
            assert not file.is_file() or b"ylophon" not in file.read_bytes(), file
        assert not list((home / "data" / "states").glob("1-*"))
        assert json.loads(cli("costs", "--json").out)["total"]["answers"] == 3

    def test_takes_another_one_and_the_open_one_goes_on(
        self, echo_chat: EchoChat, home: Path
    ) -> None:
        outcome = echo_chat.piped("one", "/new", "two", "/delete 1 yes", "three")
        assert outcome.code == 0
        assert "A new conversation." in outcome.err
        assert outcome.err.count("A new conversation.") == 1
        assert questions(home) == ["two", "three"]
        assert "Kept as session 2." in outcome.err

    def test_takes_all_with_what_was_set_aside(self, echo_chat: EchoChat, home: Path) -> None:
        echo_chat.piped("one", "/new", "two")
        aside = home / "data" / "ondevice.db.corrupt-1"
        aside.write_text("one")
        outcome = echo_chat.piped("/delete all yes", "/delete all yes", "/sessions")
        assert outcome.code == 0
        for said in ("is deleted as well", "Deleted: 2 conversations.", "Nothing was found."):
            assert said in outcome.err
        assert "There is nothing to delete." in outcome.err
        assert not aside.exists()

    @pytest.mark.parametrize("line", ["/delete", "/delete 1", "/delete all"])
    def test_is_not_done_without_the_word(self, line: str, echo_chat: EchoChat, home: Path) -> None:
        outcome = echo_chat.piped("one", line, "two")
        assert outcome.code == Exit.USAGE
        assert "Error: nothing is deleted without being asked for" in outcome.err
        assert f"  Add yes: {line} yes" in outcome.err.splitlines()
        assert questions(home) == ["one", "two"]

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("/delete yes", "this conversation is not stored"),
            ("/delete x yes", "say which: /delete 3, or /delete all"),
            ("/delete 1 2 yes", "say which: /delete 3, or /delete all"),
            ("/delete 99 yes", "there is no session 99"),
            (f"/delete {'9' * 5000} yes", "there is no session 99"),
        ],
        ids=lambda value: value[:30] if value.startswith("/") else "",
    )
    def test_of_what_is_not_there_is_a_line(
        self, line: str, said: str, echo_chat: EchoChat, home: Path
    ) -> None:
        outcome = echo_chat.piped("one", "/new", line)
        assert outcome.code != 0
        assert f"Error: {said}" in outcome.err
        assert questions(home) == ["one"]

    def test_leaves_a_private_one_open(self, echo_chat: EchoChat, home: Path) -> None:
        outcome = echo_chat.piped("one", "/private", "two", "/delete all yes", "/branch")
        assert "Deleted: 1 conversation." in outcome.err
        assert "1 You: two" in outcome.err
        assert stored(home) == []


class TestDeleteOnATerminal:
    @pytest.mark.parametrize(
        ("answer", "goes"), [("yes", True), ("no", False), ("y", False), ("", False)]
    )
    def test_asks_and_takes_a_whole_word(
        self, answer: str, goes: bool, echo_chat: EchoChat, home: Path
    ) -> None:
        echo_chat.piped("one")
        window = echo_chat.typed()
        window.sendline("/delete 1")
        window.expect("1  one · messages: 2")
        window.expect("stay in the accounts, without any text or title")
        window.expect("Delete 1 conversation for good. Write yes or no: ")
        window.sendline(answer)
        window.expect("Deleted: 1 conversation." if goes else "Nothing was deleted.")
        window.expect("You: ")
        assert questions(home) == ([] if goes else ["one"])
        window.sendline("/quit")
        assert left(window) == 0

    def test_completes_what_can_go(self, echo_chat: EchoChat) -> None:
        window = echo_chat.typed()
        window.send("/del\ta\t")
        window.expect("/delete all")


class TestImport:
    def test_takes_in_what_was_exported_and_the_open_one_goes_on(
        self, echo_chat: EchoChat, home: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "it.json"
        outcome = echo_chat.piped(
            "one", "/edit 1 two", f"/export {file}", f"/import {file}", "three", "/open 2", "four",
            "/branches",
        )  # fmt: skip
        assert outcome.code == 0
        assert "Session 2: one" in outcome.err.splitlines()
        assert "/open 2 goes on with it." in outcome.err
        assert questions(home) == ["one", "two", "one", "two", "three", "four"]
        assert "Session 2: one · messages: 2" in outcome.err
        assert "2 echo: one" in outcome.err
        assert "Kept as session 2." in outcome.err

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("/import", "say which file: /import it.json"),
            ("/import none.json", "cannot be read: No such file or directory"),
            ("/import ~nobody-is-this/x.json", "cannot be read"),
            (f"/import {'x' * 5000}", "cannot be read: File name too long"),
            ("/import a\0b", "cannot be read"),
            ("/import /", "cannot be read: Is a directory"),
            (f"/import {__file__}", "this is no session that ondevice exported"),
        ],
        ids=lambda value: value[:20] if value.startswith("/") else "",
    )
    def test_of_another_file_is_a_line_and_it_goes_on(
        self, line: str, said: str, echo_chat: EchoChat, home: Path
    ) -> None:
        outcome = echo_chat.piped(line, "hi")
        assert (outcome.code, outcome.out) == (Exit.USAGE, "hi\n")
        assert said in outcome.err
        assert outcome.err.count("Error: ") == 1
        assert "Kept as session 1." in outcome.err


class TestFind:
    def test_lists_the_messages_with_the_words_around_and_how_often(
        self, echo_chat: EchoChat
    ) -> None:
        long = f"{'before ' * 30}Rain in Lisbon, RAIN in Porto{' after' * 30}"
        lines = echo_chat.piped("Eggs", long, "/find rain", "/find Rain in L").err.splitlines()
        before, after = ("before " * 30)[-60:], f"{' in Lisbon, RAIN in Porto'}{' after' * 30}"[:60]
        for number, who in ((3, "You"), (4, "echo")):
            assert f"{number} {who}: …{before}Rain{after}… · 2 places" in lines
        assert "Places: 4." in lines
        assert "Places: 2." in lines

    def test_looks_through_the_path_that_is_shown(self, echo_chat: EchoChat) -> None:
        outcome = echo_chat.piped("Rain", "/edit 1 Eggs", "/find rain", "/find egg")
        lines = outcome.err.splitlines()
        assert "Nothing was found." in lines
        assert [line for line in lines if line.endswith(": Eggs")] == [
            "3 You: Eggs",
            "4 echo: Eggs",
        ]

    def test_finds_what_is_shown_and_nothing_a_terminal_obeys(self, echo_chat: EchoChat) -> None:
        said = ["<think>why rain", "</think>\n\n", "no \x1b[31mrain"]
        outcome = echo_chat.piped("hi", "/find why", "/find no", "/find", pieces=said)
        lines = outcome.err.splitlines()
        assert "Nothing was found." in lines
        assert "2 echo: no [31mrain" in lines
        assert "Error: say what to find" in lines


def test_a_chat_that_keeps_nothing_neither_takes_in_nor_deletes(cli: Cli, home: Path) -> None:
    outcome = cli(*SHORT, "--private", piped=b"/import x.json\n/delete all yes\n")
    assert outcome.code == Exit.STORAGE
    assert outcome.err.count("Error: this chat keeps nothing") == 2
    assert not (home / "data").exists()
