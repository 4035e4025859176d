"""`ondevice chat` in a pipe: a question a line, answers on stdout, everything else on stderr."""

from __future__ import annotations

import json
import signal
import sqlite3
import stat
import subprocess
from pathlib import Path

import psutil
import pytest
from command import PATIENCE_S, Cli, StartCli, assert_ended, child_of
from line_chat import LONG, EchoChat, script, stored
from templates import BEGINNING_TO_THINK
from tiny import TINY, with_template

from ondevice.cli.exits import Exit
from ondevice.gguf.shapes import write_shape

SHORT = ("chat", "-t", "0", "-n", "12", "-c", "512")


class TestWithAModel:
    def test_a_question_a_line_is_an_answer_a_line(self, cli: Cli, home: Path) -> None:
        outcome = cli(*SHORT, piped=b"Name one colour.\nAnd another.\n")
        assert outcome.code == 0
        answers = outcome.out.splitlines()
        assert len(answers) == 2
        assert [row[0] for row in stored(home)] == ["user", "assistant"] * 2
        assert [row[1] for row in stored(home)][1::2] == answers
        assert "\x1b" not in outcome.out + outcome.err

    def test_the_second_turn_evaluates_only_what_is_new(self, cli: Cli, home: Path) -> None:
        outcome = cli(*SHORT, piped=b"Name one colour.\nAnd another.\n")
        first, second = [line for line in outcome.err.splitlines() if line.startswith("Numbers")]
        assert "reused 0 of " in first
        connection = sqlite3.connect(home / "data" / "ondevice.db")
        (one, two) = connection.execute(
            "SELECT prompt_tokens, cached_tokens, completion_tokens FROM answer ORDER BY id"
        ).fetchall()
        connection.close()
        assert f"reused {two[1]} of {two[0]}" in second
        assert two[1] >= one[0] + one[2] - 1  # the last token of an answer is not evaluated

    @pytest.mark.parametrize("keeps", [True, False])
    def test_what_was_read_is_kept_as_the_settings_say_when_it_is_left(
        self, keeps: bool, start_cli: StartCli, cli: Cli, home: Path
    ) -> None:
        process = start_cli(*SHORT, stdin=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(b"Name one colour.\n")
        process.stdin.flush()
        while not process.stderr.readline().startswith(b"Numbers"):
            assert process.poll() is None
        if not keeps:
            assert cli("settings", "set", "keep_prefixes", "off").code == 0
        process.communicate(timeout=PATIENCE_S)
        states = home / "data" / "states"
        assert states.is_dir() == keeps
        assert len(list(states.glob("*.state"))) == keeps

    def test_the_parts_add_up_to_the_context(self, cli: Cli) -> None:
        outcome = cli(*SHORT, "-s", "Be brief.", piped=b"Hello\n/context\n")
        (line,) = [each for each in outcome.err.splitlines() if each.startswith("Context of 512")]
        parts = {
            words.split()[0]: int(words.split()[1])
            for words in line.partition(": ")[2].split(" · ")
        }
        assert list(parts) == ["system", "history", "attached", "free"]
        assert sum(parts.values()) == 512
        assert parts["system"] > 0

    def test_costs_are_those_of_the_ledger(self, cli: Cli) -> None:
        outcome = cli(*SHORT, piped=b"Hello\n/useful\n/costs\n")
        document = json.loads(cli("costs", "--json").out)
        assert "This conversation: answers 1 · useful 1 · " in outcome.err
        assert document["total"]["useful"] == 1
        assert f"made {document['total']['completion_tokens']} " in outcome.err

    def test_power_is_counted_where_it_is_stated(self, cli: Cli, home: Path) -> None:
        (home / "config").mkdir(parents=True)
        (home / "config" / "settings.toml").write_text("watts = 30\ntariff_usd_per_kwh = 0.30\n")
        outcome = cli(*SHORT, piped=b"Hello\n")
        assert "net avoided " in outcome.err
        assert json.loads(cli("costs", "--json").out)["total"]["joules"] > 0

    def test_an_answer_keeps_to_a_schema(self, cli: Cli, tmp_path: Path) -> None:
        schema = tmp_path / "schema.json"
        schema.write_text('{"enum": ["red", "blue"]}')
        outcome = cli(*SHORT, "--schema", schema, piped=b"Name a colour.\n")
        assert json.loads(outcome.out) in ("red", "blue")

    def test_an_answer_under_a_schema_is_one_also_of_a_model_that_thinks(
        self, cli: Cli, tmp_path: Path
    ) -> None:
        model, schema = tmp_path / "thinker.gguf", tmp_path / "schema.json"
        write_shape(TINY, "F16", model)
        model.write_bytes(with_template(model.read_bytes(), BEGINNING_TO_THINK))
        schema.write_text('{"enum": ["red", "blue"]}')
        outcome = cli(*SHORT, "-m", model, "--schema", schema, piped=b"Name a colour.\n")
        assert json.loads(outcome.out) in ("red", "blue")
        assert "Thinking" not in outcome.err

    def test_it_goes_on_with_a_session_and_tells_it_so(self, cli: Cli, home: Path) -> None:
        begun = cli(*SHORT, piped=b"Name one colour.\n")
        assert "ondevice chat --session 1" in begun.err
        outcome = cli(*SHORT, "--session", "1", "-s", "Be brief.", piped=b"And another.\n/system\n")
        assert "Session 1: Name one colour. · messages: 2" in outcome.err
        assert "System prompt: Be brief." in outcome.err
        assert len(stored(home)) == 4

    def test_a_private_one_leaves_no_file_of_the_data_folder(self, cli: Cli, home: Path) -> None:
        asked = b"Xylophonic\n/rename Xylophonic\n/costs\n/sessions\n/open 1\n/new\nXylophonic\n"
        outcome = cli(*SHORT, "--private", piped=asked)
        assert outcome.out.strip()
        assert outcome.err.count("Numbers: ") == 2
        assert not (home / "data").exists()
        assert_no_byte(home, b"ylophon")


def assert_no_byte(folder: Path, word: bytes) -> None:
    for file in folder.rglob("*"):
        assert not file.is_file() or word not in file.read_bytes(), file


class TestRefused:
    @pytest.mark.parametrize(
        ("arguments", "code", "said"),
        [
            (["-m", "no-such-model"], Exit.MODEL, "no model is called"),
            (["--session", "7"], Exit.STORAGE, "there is no session 7"),
            (["--session", "9" * 20], Exit.STORAGE, f"there is no session {'9' * 20}"),
            (["--session", "9" * 5000], Exit.STORAGE, "there is no session 99"),
            (["--session", "x" * 5000], Exit.USAGE, "is not a valid number"),
            (["--session", "7", "--private"], Exit.USAGE, "is not private"),
            (["-t", "-1"], Exit.USAGE, "temperature is -1.0"),
            (["--lora", "x.gguf:inf"], Exit.USAGE, "the scale of a LoRA adapter is inf"),
            (["--gpu-layers", "most"], Exit.USAGE, "it must be auto, all or a whole number"),
            (["--schema", "none.json"], Exit.USAGE, "cannot be read"),
            (["--baseline", "no-such-cloud"], Exit.USAGE, "no-such-cloud"),
        ],
        ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
    )
    def test_with_one_line_and_a_hint(
        self, arguments: list[str], code: Exit, said: str, cli: Cli
    ) -> None:
        outcome = cli("chat", *arguments, piped=b"Hello\n")
        assert (outcome.code, outcome.out) == (code, "")
        *_, line, hint = outcome.err.splitlines()
        assert line.startswith("ondevice: ")
        assert said in line
        assert hint.startswith("  ")
        assert "Traceback" not in outcome.err


class TestSurroundings:
    @pytest.mark.parametrize("piped", [b"", b"\n \n"], ids=["nothing", "blank lines"])
    def test_without_a_question_nothing_is_kept(
        self, piped: bytes, echo_chat: EchoChat, home: Path
    ) -> None:
        process = echo_chat.start()
        out, err = process.communicate(piped, PATIENCE_S)
        assert (process.returncode, out) == (0, b"")
        assert b"Kept" not in err
        assert stored(home) == []

    def test_a_closed_stdin_is_an_end(self, cli: Cli) -> None:
        outcome = cli(*SHORT, redirect="<&-")
        assert (outcome.code, outcome.out) == (0, "")

    def test_without_a_place_to_keep_it_answers_and_says_so(self, cli: Cli) -> None:
        outcome = cli(*SHORT, piped=b"Hello\n", env={"ONDEVICE_HOME": "/dev/null/home"})
        assert outcome.code == 0
        assert outcome.out.strip()
        assert "Nothing will be kept: " in outcome.err

    def test_without_a_home_it_answers(self, cli: Cli) -> None:
        outcome = cli(*SHORT, "--private", piped=b"Hello\n", env={"HOME": None})
        assert outcome.code == 0
        assert outcome.out.strip()

    def test_what_is_no_text_is_still_asked(self, echo_chat: EchoChat, home: Path) -> None:
        process = echo_chat.start()
        out, _ = process.communicate(b"caf\xe9 \xff\n", PATIENCE_S)
        assert out.decode() == "caf� �\n"
        assert stored(home)[0][1] == "caf� �"

    def test_what_a_terminal_would_obey_stays_data(self, echo_chat: EchoChat) -> None:
        outcome = echo_chat.piped("hi", pieces=["\x1b[31mred\x07"])
        assert outcome.out == "\x1b[31mred\x07\n"
        assert "\x1b" not in outcome.err

    def test_a_reader_who_left_ends_it_with_the_half_kept(
        self, echo_chat: EchoChat, home: Path
    ) -> None:
        process = echo_chat.start(**LONG)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
        assert process.stdout.read(5) == b"word "
        child = child_of(process)
        process.stdout.close()
        assert process.wait(PATIENCE_S) == 1
        question, half = stored(home)
        assert question[1:] == ("go", "complete")
        assert half[1].startswith("word word ")
        assert half[2] == "interrupted"
        assert_ended(child)


class TestSeveralLines:
    @pytest.mark.parametrize(
        ("lines", "asked"),
        [
            (["one \\", "two"], "one \ntwo"),
            (["one\\", "two\\", "three"], "one\ntwo\nthree"),
            (['"""one', "", "/two", 'three"""'], "one\n\n/two\nthree"),
            (['"""', "one", '"""'], "one"),
            (['"""one"""'], "one"),
            (['"""', "without", "an end"], "without\nan end"),
            (["an end\\"], "an end"),
            (["/etc/hosts is what?"], "/etc/hosts is what?"),
            ([" /help"], "/help"),
        ],
        ids=str,
    )
    def test_are_one_question(
        self, lines: list[str], asked: str, echo_chat: EchoChat, home: Path
    ) -> None:
        assert echo_chat.piped(*lines).out == f"{asked}\n"
        assert [row[1] for row in stored(home)] == [asked, asked]


class TestTrees:
    def test_an_edited_question_stands_beside_the_first(
        self, echo_chat: EchoChat, home: Path
    ) -> None:
        outcome = echo_chat.piped("one", "two", "/edit 1 three", "/branches", "/branch 4", "four")
        assert outcome.out.splitlines() == ["one", "two", "three", "four"]
        assert "6 echo: three" in outcome.err
        assert "4 echo: two" in outcome.err
        assert "It goes on after message 4, by echo: two" in outcome.err
        assert [row[1] for row in stored(home)] == [
            word for word in ("one", "two", "three", "four") for _ in "qa"
        ]
        shown = echo_chat.piped("/branch", session=1)
        listed = [line.partition(": ")[2] for line in shown.err.splitlines() if "You: " in line]
        assert [line.split()[0] for line in listed[-3:]] == ["one", "two", "four"]

    def test_another_answer_keeps_the_first(self, echo_chat: EchoChat, home: Path) -> None:
        outcome = echo_chat.piped("one", "/again", "/edit two")
        assert outcome.out == "one\none\ntwo\n"
        assert [row[:2] for row in stored(home)] == [
            ("user", "one"), ("assistant", "one"), ("assistant", "one"),
            ("user", "two"), ("assistant", "two"),
        ]  # fmt: skip

    def test_of_a_private_conversation_are_the_same_and_leave_no_byte(
        self, echo_chat: EchoChat, home: Path
    ) -> None:
        outcome = echo_chat.piped(
            "/private", "zebra one", "zebra two", "/edit 1 zebra", "/branch 4",
            "zebra four", "/branches",
        )  # fmt: skip
        assert outcome.out.splitlines() == ["zebra one", "zebra two", "zebra", "zebra four"]
        assert stored(home) == []
        assert_no_byte(home, b"zebra")
        assert "Kept" not in outcome.err


class TestCommands:
    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("/usful", "Did you mean /useful?"),
            ("/ope 3", "Did you mean /open?"),
            ("/xyzzy", "/help lists them."),
            ("/open", "say which conversation"),
            ("/open 99", "there is no session 99"),
            (f"/open {'9' * 20}", f"there is no session {'9' * 20}"),
            (f"/open {'9' * 5000}", "there is no session 99"),
            (f"/branch {'9' * 5000}", "has no message 99"),
            (f"/edit {'9' * 5000} x", "has no message 99"),
            ("/open ²", "say which conversation"),
            ("/rename", "the title is empty"),
            ("/rename x", "this conversation is not stored"),
            ("/branch", "nothing was said yet"),
            ("/branch x", "say from which message"),
            ("/branch 3", "has no message 3"),
            ("/edit x", "there is no question to change"),
            ("/edit 5 x", "has no message 5"),
            ("/again", "there is no question to answer"),
            ("/useful", "there is no answer yet"),
            ("/useful maybe", "takes on or off"),
            ("/copy", "there is no answer yet"),
            ("/model ./none.json", "no usable echo script"),
            ("/export /proc/nowhere/x.md", "cannot be written"),
            ("/export ~nobody-is-this/x.md", "cannot be written"),
            (f"/export {'x' * 5000}", "cannot be written: File name too long"),
            ("/export a\0b", "cannot be written"),
            ("/export /", "is there already"),
        ],
        ids=lambda value: value[:30] if value.startswith("/") else "",
    )
    def test_that_cannot_be_done_are_a_line_and_a_hint_and_it_goes_on(
        self, line: str, said: str, echo_chat: EchoChat
    ) -> None:
        outcome = echo_chat.piped(line, "/new")
        errors = [each for each in outcome.err.splitlines() if each.startswith("Error: ")]
        assert len(errors) == 1
        assert said in outcome.err
        assert "A new conversation." in outcome.err
        assert outcome.code != 0  # whoever runs a script is told

    def test_help_names_all_of_them(self, echo_chat: EchoChat) -> None:
        from ondevice.cli.chat.commands import COMMANDS

        said = echo_chat.piped("/help").err
        for name, each in COMMANDS.items():
            assert f"/{name} {each.takes}".rstrip() + f": {each.about}" in said

    def test_find_open_and_rename_conversations(self, echo_chat: EchoChat) -> None:
        outcome = echo_chat.piped(
            "Rain in Lisbon", "/new", "Eggs", "/sessions", "/sessions lisbon", "/open 1",
            "/rename Weather", "/sessions",
        )  # fmt: skip
        lines = outcome.err.splitlines()
        assert "2: Eggs" in lines
        assert "1: Rain in Lisbon" in lines
        assert "1: Weather" in lines
        assert "Session 1: Rain in Lisbon · messages: 2" in lines
        assert "Kept as session 1. To go on: ondevice chat --session 1" in lines

    def test_tell_the_model_something(self, echo_chat: EchoChat) -> None:
        outcome = echo_chat.piped("/system pirate", "/system", "/system none", "/system", "hi")
        assert "System prompt: Talk like a pirate." in outcome.err
        assert "System prompt: none" in outcome.err

    def test_write_it_out(self, echo_chat: EchoChat, tmp_path: Path) -> None:
        file = tmp_path / "it.json"
        outcome = echo_chat.piped("hi there", f"/export {file}", f"/export {file}", "/export")
        assert json.loads(file.read_bytes())["title"] == "hi there"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert "is there already" in outcome.err
        assert outcome.out.startswith("hi there\n# hi there\n")

    def test_copy_prints_what_the_model_wrote(self, echo_chat: EchoChat) -> None:
        assert echo_chat.piped("a\x1b[31mb", "/copy").out == "a\x1b[31mb\n" * 2

    def test_copy_leaves_out_what_it_thought(self, echo_chat: EchoChat) -> None:
        said = ["<think>why", "</think>\n\nyes"]
        assert echo_chat.piped("hi", "/copy", pieces=said).out == "yes\n" * 2

    def test_take_another_model(self, echo_chat: EchoChat, tmp_path: Path) -> None:
        other = script(tmp_path, "parrot", pieces=["squawk"])
        outcome = echo_chat.piped("hi", f"/model {other}", "hi", "/model")
        assert outcome.out == "hi\nsquawk\n"
        assert "Model: parrot" in outcome.err
        assert "Loaded: flash attention off, weights not repacked." in outcome.err

    def test_that_name_a_model_which_does_not_load_leave_the_one_in_use(
        self, echo_chat: EchoChat, tmp_path: Path
    ) -> None:
        other = script(tmp_path, "parrot", load_signal="SIGABRT")
        outcome = echo_chat.piped("hi", f"/model {other}", "and again", "/model")
        assert outcome.out == "hi\nand again\n"
        stays = "The model is still echo, as it was. The next question, or /model, loads it."
        assert stays in outcome.err
        assert "Model: echo" in outcome.err

    def test_quit_leaves_the_rest_unread(self, echo_chat: EchoChat, home: Path) -> None:
        outcome = echo_chat.piped("one", "/quit", "two")
        assert (outcome.code, outcome.out) == (0, "one\n")
        assert len(stored(home)) == 2


class TestThinking:
    def test_is_talk_and_no_part_of_the_answer(self, echo_chat: EchoChat, home: Path) -> None:
        outcome = echo_chat.piped("hi", pieces=["<think>", "hm ", "hm", "</think>", "\n\nYes."])
        assert outcome.out == "Yes.\n"
        assert "Thinking: hm hm\n" in outcome.err
        assert stored(home)[1][1].startswith("<think>")


class TestTrouble:
    def test_of_the_engine_keeps_the_half_and_the_next_question_loads_it_again(
        self, echo_chat: EchoChat, home: Path
    ) -> None:
        outcome = echo_chat.piped("one", "two", pieces=["half ", "more"], delay_s=0.3, signal_at=1)
        assert outcome.out == "half \nhalf \n"
        assert outcome.code == Exit.ENGINE
        assert outcome.err.count("Error: the engine stopped: signal SIGKILL") == 2
        assert outcome.err.count("Loading echo") == 2
        assert [row[1:] for row in stored(home)] == [
            ("one", "complete"), ("half ", "interrupted"),
            ("two", "complete"), ("half ", "interrupted"),
        ]  # fmt: skip

    def test_of_the_engine_tells_what_it_said_last(self, echo_chat: EchoChat) -> None:
        said = "CUDA error: out of memory\n  current device: 0\nerror"
        outcome = echo_chat.piped("one", signal_at=0, stderr=said)
        lines = outcome.err.splitlines()
        begin = lines.index("Error: the engine stopped: signal SIGKILL (error)")
        assert lines[begin + 1 : begin + 4] == [
            "  | CUDA error: out of memory",
            "  | current device: 0",
            "  | error",
        ]

    def test_of_a_prompt_that_does_not_fit_says_how_to_go_on(self, cli: Cli) -> None:
        outcome = cli("chat", "-n", "4", "-c", "64", piped=b"word " * 999 + b"\nHello\n")
        assert outcome.code == Exit.ENGINE
        assert outcome.err.count("Error: the prompt has ") == 1
        assert "Ask a shorter one; /room makes room" in outcome.err
        assert outcome.out.strip()

    @pytest.mark.parametrize(
        ("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)], ids=str
    )
    def test_a_signal_in_an_answer_keeps_the_half_and_leaves(
        self, name: str, code: int, echo_chat: EchoChat, home: Path
    ) -> None:
        process = answering(echo_chat)
        child = child_of(process)
        process.send_signal(signal.Signals[name])
        _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == code
        assert b"Traceback" not in err
        assert [row[2] for row in stored(home)] == ["complete", "interrupted"]
        assert stored(home)[1][1].startswith("word ")
        assert_ended(child)

    def test_a_signal_while_it_waits_leaves(self, echo_chat: EchoChat) -> None:
        process = echo_chat.start()
        assert process.stderr is not None
        while b"answers on this machine" not in process.stderr.readline():
            pass
        child = child_of(process)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, err) == (143, b"")
        assert_ended(child)

    def test_a_signal_while_it_loads_leaves(self, echo_chat: EchoChat) -> None:
        process = echo_chat.start(load_hangs=True)
        parent = psutil.Process(process.pid)
        while not (children := parent.children()):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 143
        assert b"Traceback" not in err
        assert_ended(children[0])

    def test_a_kill_in_an_answer_loses_neither_question_nor_half(
        self, echo_chat: EchoChat, cli: Cli, home: Path
    ) -> None:
        process = answering(echo_chat)
        assert process.stdout is not None
        process.stdout.read(900)  # some seconds of it, so that a part was saved
        child = child_of(process)
        process.kill()
        process.communicate()
        assert_ended(child)
        again = cli("chat", "--session", "1", "-c", "512", redirect="<&-")
        assert "Session 1: go · messages: 2" in again.err
        question, half = stored(home)
        assert question == ("user", "go", "complete")
        assert half[1].startswith("word word ")
        assert half[2] == "interrupted"


def answering(echo_chat: EchoChat) -> subprocess.Popen[bytes]:
    """A chat in the middle of an answer that would not end."""
    process = echo_chat.start(**LONG)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"go\n")
    process.stdin.flush()
    assert process.stdout.read(5) == b"word "
    return process


def test_help_tells_its_options(cli: Cli) -> None:
    outcome = cli("chat", "--help")
    for option in ("--session", "--private", "--schema", "--lora", "--ctx", "--baseline", "-s,"):
        assert option in outcome.out
