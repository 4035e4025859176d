"""`ondevice chat` on a terminal: labels in words, the line editor, Ctrl-C, and nothing it obeys."""

from __future__ import annotations

import base64
import re
import signal
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pexpect
import psutil
import pytest
from command import assert_ended
from line_chat import LONG, EchoChat, left, stored

TAB, PASTE, PASTE_END = "\t", "\x1b[200~", "\x1b[201~"


def engine_of(window: Any) -> psutil.Process:
    (child,) = psutil.Process(window.pid).children()
    return child


def signal_at_prompt(window: Any, number: int, until: Any) -> None:
    """Send it and read `until`; once more where it came while the line editor was busy with a key.

    CPython looks for signals when waiting for a key is interrupted, so that one would stay unseen
    until the next.
    """
    for _ in range(2):
        if number == signal.SIGINT:
            window.sendintr()
        else:
            window.kill(number)
        if window.expect([until, pexpect.TIMEOUT], timeout=20) == 0:
            return
    pytest.fail(f"signal {number} was not heard")


class TestWhatIsShown:
    def test_names_who_speaks(self, echo_chat: EchoChat) -> None:
        window = echo_chat.typed()
        window.sendline("one two")
        window.expect("echo: one two\r\n")
        window.expect("Numbers: 2 tokens · ")
        window.expect("You: ")
        window.sendline("/quit")
        window.expect("Kept as session 1.")
        assert left(window) == 0

    def test_comes_in_whole_words_as_it_may_be_spoken(self, echo_chat: EchoChat) -> None:
        window = echo_chat.typed(pieces=["Lis", "bon", " is", " wet."], delay_s=0.4)
        window.sendline("hi")
        window.expect("echo: Lis")
        assert window.buffer.startswith("bon")
        window.expect(" is wet.\r\n")

    @pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"TERM": ""}], ids=str)
    def test_places_no_cursor_where_the_terminal_cannot(
        self, env: dict[str, str], echo_chat: EchoChat
    ) -> None:
        assert "\x1b" not in self.all_of(echo_chat, env)

    def test_has_no_colour_where_it_is_unwelcome(self, echo_chat: EchoChat) -> None:
        shown = self.all_of(echo_chat, {"NO_COLOR": "1"})
        assert "\x1b[2m" not in shown
        assert "\x1b[1m" not in shown

    @staticmethod
    def all_of(echo_chat: EchoChat, env: dict[str, str]) -> str:
        """Everything from the start to the end of a short conversation."""
        window = echo_chat.typed(env=env)
        shown = window.before + window.after
        for line, answered in (("hi", "Numbers: "), ("/sessions", "1: hi"), ("/xyz", "Error: ")):
            window.sendline(line)
            window.expect(answered)
            shown += window.before + window.after
            window.expect("You: ")
            shown += window.before + window.after
        window.sendeof()
        shown += window.read()
        assert isinstance(shown, str)
        assert "Kept as session 1." in shown
        return shown

    def test_is_nothing_it_would_obey(self, echo_chat: EchoChat, home: Path) -> None:
        hostile = "\x1b]52;c;aGk=\x07clip\x9b2J\x1b[31mred\u202eb"
        window = echo_chat.typed(env={"NO_COLOR": "1"}, pieces=[hostile])
        window.sendline("hi")
        window.expect("Numbers: ")
        shown = window.before
        assert "clip" in shown
        for harmful in ("\x1b]", "\x9b", "\x1b[31m", "\u202e", "\x07"):
            assert harmful not in shown
        assert stored(home)[1][1] == hostile
        window.expect("You: ")
        window.sendline("/branch")
        window.expect("goes on from there")
        for harmful in ("\x1b]", "\x9b", "\x1b[31m", "\u202e", "\x07"):
            assert harmful not in window.before


class TestTheLineEditor:
    def test_completes_commands_and_what_they_take(self, echo_chat: EchoChat) -> None:
        window = echo_chat.typed()
        window.send(f"/ren{TAB}")
        window.expect("/rename ")
        window.send("\x15")  # Ctrl-U
        window.send(f"/sys{TAB}pir{TAB}\r")
        window.expect("The model is told so")
        window.send(f"/mod{TAB}par{TAB}")
        window.expect("/model parrot")

    def test_completes_the_numbers_of_conversations(self, echo_chat: EchoChat) -> None:
        echo_chat.piped("hi")
        window = echo_chat.typed()
        window.send(f"/open {TAB}\r")
        window.expect("Session 1: hi")

    def test_remembers_lines_in_memory_only(self, echo_chat: EchoChat, home: Path) -> None:
        window = echo_chat.typed()
        window.sendline("/private")
        window.expect("nothing of it is stored")
        window.sendline("zebra")
        window.expect("echo: zebra")
        window.expect("You: ")
        window.send("\x10\r")  # Ctrl-P
        window.expect("echo: zebra")
        window.sendline("/quit")
        assert left(window) == 0
        for folder in (home, Path(echo_chat.environment["HOME"])):
            for file in folder.rglob("*"):
                assert not file.is_file() or b"zebra" not in file.read_bytes()

    def test_takes_a_paste_of_lines_as_one_question(self, echo_chat: EchoChat, home: Path) -> None:
        window = echo_chat.typed()
        window.send(f"{PASTE}one\ntwo{PASTE_END}\r")
        window.expect("Numbers: ")
        assert stored(home)[0][1] == "one\ntwo"

    def test_asks_for_the_lines_that_follow(self, echo_chat: EchoChat, home: Path) -> None:
        window = echo_chat.typed()
        window.sendline('"""one')
        window.expect("More: ")
        window.sendline('two"""')
        window.expect("Numbers: ")
        assert stored(home)[0][1] == "one\ntwo"

    def test_gives_a_question_back_to_be_edited(self, echo_chat: EchoChat, home: Path) -> None:
        window = echo_chat.typed()
        window.sendline("one two")
        window.expect("Numbers: ")
        window.expect("You: ")
        window.sendline("/edit")
        window.expect("You: one two")
        window.send(" three\r")
        window.expect("echo: one two three")
        window.expect("Numbers: ")
        assert [row[1] for row in stored(home)][::2] == ["one two", "one two three"]


class TestCtrlC:
    def test_stops_an_answer_and_the_conversation_goes_on(
        self, echo_chat: EchoChat, home: Path
    ) -> None:
        window = echo_chat.typed(**LONG)
        window.sendline("go")
        window.expect("word word")
        window.sendintr()
        window.expect("Stopped; what there is of the answer is kept.")
        window.expect("You: ")
        assert stored(home)[1][2] == "interrupted"
        window.sendline("/branch")
        window.expect("2 echo: word word")

    def test_twice_at_the_prompt_leaves(self, echo_chat: EchoChat) -> None:
        window = echo_chat.typed()
        engine = engine_of(window)
        window.send("half a line")
        window.expect("half a line")
        signal_at_prompt(window, signal.SIGINT, "Ctrl-C again leaves")
        window.expect("You: ")
        signal_at_prompt(window, signal.SIGINT, pexpect.EOF)
        assert strip(window.before).endswith("\r\n")  # the shell's prompt has its own line
        assert left(window) == 130
        assert_ended(engine)

    @pytest.mark.parametrize("between", ["typed", "\r"], ids=["a word", "an empty line"])
    def test_leaves_only_directly_after_another(self, between: str, echo_chat: EchoChat) -> None:
        window = echo_chat.typed()
        signal_at_prompt(window, signal.SIGINT, "Ctrl-C again leaves")
        window.expect("You: ")
        window.send(between)
        window.expect(between if between.isalpha() else "You: ")
        signal_at_prompt(window, signal.SIGINT, "Ctrl-C again leaves")
        window.expect("You: ")
        signal_at_prompt(window, signal.SIGINT, pexpect.EOF)
        assert left(window) == 130

    def test_at_the_prompt_after_one_that_stopped_an_answer_leaves(
        self, echo_chat: EchoChat
    ) -> None:
        window = echo_chat.typed(**LONG)
        window.sendline("go")
        window.expect("word word")
        window.sendintr()
        window.expect("You: ")
        signal_at_prompt(window, signal.SIGINT, pexpect.EOF)
        assert left(window) == 130

    def test_is_forgotten_by_the_next_line(self, echo_chat: EchoChat) -> None:
        window = echo_chat.typed(**LONG)
        window.sendline("go")
        window.expect("word word")
        window.sendintr()
        window.expect("You: ")
        window.sendline("/new")
        window.expect("A new conversation")
        window.expect("You: ")
        signal_at_prompt(window, signal.SIGINT, "Ctrl-C again leaves")

    def test_gives_up_lines_that_were_begun(self, echo_chat: EchoChat, home: Path) -> None:
        window = echo_chat.typed()
        window.sendline("one \\")
        window.expect("More: ")
        signal_at_prompt(window, signal.SIGINT, "Ctrl-C again leaves")
        window.expect("You: ")
        window.sendline("two")
        window.expect("echo: two")
        window.expect("Numbers: ")
        assert stored(home)[0][1] == "two"

    def test_at_a_question_deletes_nothing(self, echo_chat: EchoChat, home: Path) -> None:
        window = echo_chat.typed()
        window.sendline("one")
        window.expect("Numbers: ")
        window.expect("You: ")
        window.sendline("/delete")
        window.expect("Write yes or no: ")
        window.send("yes")
        window.expect("yes")
        signal_at_prompt(window, signal.SIGINT, "Ctrl-C again leaves")
        window.expect("You: ")
        assert stored(home)[0][1] == "one"

    def test_while_the_first_model_is_loaded_leaves(self, echo_chat: EchoChat) -> None:
        window = echo_chat.typed(until="Loading echo", load_hangs=True)
        window.sendintr()
        assert left(window) == 130

    def test_while_a_model_is_loaded_goes_back_to_the_prompt(
        self, echo_chat: EchoChat, tmp_path: Path
    ) -> None:
        window = echo_chat.typed()
        slow = tmp_path / "slow.json"
        slow.write_text('{"load_hangs": true}')
        window.sendline(f"/model {slow}")
        window.expect("Loading slow")
        window.sendintr()
        window.expect("Loading was stopped. The model is still echo, as it was.")
        window.expect("You: ")
        window.sendline("hi")
        window.expect("echo: hi")


class TestLeaving:
    def test_a_terminal_that_goes_away_leaves_the_half(
        self, echo_chat: EchoChat, home: Path
    ) -> None:
        window = echo_chat.typed(**LONG)
        engine = engine_of(window)
        window.sendline("go")
        window.expect("word word")
        process = psutil.Process(window.pid)
        window.close(force=False)
        psutil.wait_procs([process], timeout=20)
        assert [row[2] for row in stored(home)] == ["complete", "interrupted"]
        assert_ended(engine)

    def test_a_question_is_taken_up_in_the_same_session(self, echo_chat: EchoChat) -> None:
        echo_chat.piped("Rain")
        window = echo_chat.typed(session=1)  # the label of the question is there as well
        assert "Session 1: Rain · messages: 2" in window.before
        window.expect("echo: Rain")
        window.expect("You: ")
        window.sendline("Eggs")
        window.expect("echo: Eggs")
        window.expect("You: ")
        window.sendeof()
        assert left(window) == 0

    def test_a_signal_at_the_prompt_leaves_a_terminal_as_it_was(self, echo_chat: EchoChat) -> None:
        window = echo_chat.typed()
        window.send("half a line")
        window.expect("half a line")
        signal_at_prompt(window, signal.SIGTERM, pexpect.EOF)
        assert window.getecho()
        assert left(window) == 143

    def test_the_end_of_the_input_is_a_line_of_its_own(self, echo_chat: EchoChat) -> None:
        window = echo_chat.typed()
        window.sendline("hi")
        window.expect("Numbers: ")
        window.expect("You: ")
        window.sendeof()
        assert "\r\nKept as session 1." in strip(window.read())


def strip(shown: str) -> str:
    """Without what dims it, and what brackets a paste."""
    return re.sub(r"\x1b\[[?0-9;]*[a-z]", "", shown)


class TestAFile:
    def test_gets_the_answers_while_somebody_types(
        self, echo_chat: EchoChat, tmp_path: Path
    ) -> None:
        answers = tmp_path / "answers"
        window = echo_chat.typed(redirect=f"> {answers}")
        window.sendline("one two")
        window.expect("Numbers: ")
        assert "echo: " not in window.before
        window.expect("You: ")
        window.sendline("/quit")
        assert left(window) == 0
        assert answers.read_text() == "one two\n"


class TestCopying:
    def test_goes_to_the_terminal_and_to_a_private_file(
        self, echo_chat: EchoChat, home: Path
    ) -> None:
        window = echo_chat.typed(pieces=["<think>why</think>\n\none \x1b[31mtwo"])
        window.sendline("hi")
        window.expect("Numbers: ")
        window.sendline("/copy")
        window.expect(r"The answer \(11 characters, 11 B\) was handed to the terminal;")
        assert f"\x1b]52;c;{base64.b64encode(b'one [31mtwo').decode()}\x07" in window.before
        window.expect("it is also in ")
        file = home / "data" / "copied.txt"
        assert file.read_text() == "one [31mtwo"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600

    def test_is_in_the_file_alone_where_it_is_too_long_for_a_terminal(
        self, echo_chat: EchoChat, home: Path
    ) -> None:
        window = echo_chat.typed(pieces=["x" * 999 + " "], repeat=80)
        window.sendline("hi")
        window.expect("Numbers: ")
        window.sendline("/copy")
        window.expect("too long for a terminal; it is in ")
        assert "\x1b]52" not in window.before
        assert (home / "data" / "copied.txt").read_text() == ("x" * 999 + " ") * 80

    def test_of_a_private_conversation_is_in_no_file(self, echo_chat: EchoChat, home: Path) -> None:
        window = echo_chat.typed()
        window.sendline("/private")
        window.expect("You: ")
        window.sendline("one two")
        window.expect("Numbers: ")
        window.sendline("/copy")
        window.expect("no file has it, as nothing of this session is kept")
        assert f"\x1b]52;c;{base64.b64encode(b'one two').decode()}\x07" in window.before
        assert not (home / "data" / "copied.txt").exists()

    def test_prints_it_where_the_terminal_obeys_nothing(self, echo_chat: EchoChat) -> None:
        window = echo_chat.typed(env={"TERM": "dumb"})
        window.sendline("one two")
        window.expect("Numbers: ")
        window.expect("You: ")
        window.sendline("/copy")
        window.expect("\none two\r\n")


class TestTrouble:
    def test_of_the_database_is_said_before_the_answer(
        self, echo_chat: EchoChat, home: Path
    ) -> None:
        window = echo_chat.typed()
        with closing(sqlite3.connect(home / "data" / "ondevice.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            window.sendline("hi")
            window.expect("Note: this conversation is not being saved: .* is in use")
            window.expect("echo: hi")

    def test_of_the_engine_is_said_and_the_model_command_loads_it_again(
        self, echo_chat: EchoChat
    ) -> None:
        window = echo_chat.typed()
        engine_of(window).kill()
        window.sendline("hi")
        window.expect("Error: the engine stopped: signal SIGKILL")
        window.expect("the next question, or /model, loads it")
        window.expect("You: ")
        window.sendline("/model")
        window.expect("answers on this machine")
        window.sendline("again")
        window.expect("echo: ")
