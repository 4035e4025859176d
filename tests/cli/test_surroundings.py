"""Whatever the command is started in, it does its work or says one line; nothing raw is shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pexpect
import pytest
from command import PATIENCE_S, SCRIPT, Cli, StartCli

SHORT = ("run", "--raw", "-t", "0", "-n", "2", "-c", "64", "The capital of France is")


class TestClosedStreams:
    @pytest.mark.parametrize("redirect", ["<&-", "2>&-", "<&- 2>&-"])
    def test_that_are_not_needed_are_not_missed(self, redirect: str, cli: Cli) -> None:
        outcome = cli(*SHORT, redirect=redirect)
        assert (outcome.code, outcome.err) == (0, "")
        assert "Paris" in outcome.out

    @pytest.mark.parametrize("command", ["list", "doctor", "--help", "completion bash"])
    def test_of_output_leads_nowhere(self, command: str, cli: Cli) -> None:
        outcome = cli(*command.split(), redirect=">&-")
        assert (outcome.code, outcome.out, outcome.err) == (0, "", "")

    def test_of_output_ends_no_answer(self, cli: Cli) -> None:
        outcome = cli(*SHORT, redirect=">&-")
        assert (outcome.code, outcome.out, outcome.err) == (0, "", "")

    def test_without_a_prompt_are_a_usage_error(self, cli: Cli) -> None:
        outcome = cli("run", redirect="<&-")
        assert outcome.code == 2
        assert "there is no prompt" in outcome.err

    def test_of_errors_still_give_the_exit_code(self, cli: Cli) -> None:
        assert cli("run", "-m", "no-such-model", "hi", redirect="2>&-").code == 3


class TestLostOutput:
    @pytest.mark.parametrize("command", ["list", "--help", "completion bash", "list --json"])
    def test_on_a_full_disk_is_said(self, command: str, cli: Cli) -> None:
        if not Path("/dev/full").exists():
            pytest.skip("there is no /dev/full here")
        outcome = cli(*command.split(), redirect=">/dev/full")
        assert outcome.code == 1
        assert outcome.err == "ondevice: the output cannot be written: No space left on device\n"

    @pytest.mark.parametrize("command", ["list", "completion bash", "list --json"])
    def test_to_a_reader_who_left_is_quiet(self, command: str, start_cli: StartCli) -> None:
        process = start_cli(*command.split())
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(PATIENCE_S) == 1

    def test_to_a_reader_of_one_character_is_quiet(self, environment: dict[str, str]) -> None:
        command = f"'{SCRIPT}' list | head -c 1"
        done = subprocess.run(
            ["sh", "-c", command], env=environment, capture_output=True, text=True
        )
        assert (done.stdout, done.stderr) == ("M", "")


class TestTheEnvironment:
    @pytest.mark.parametrize(
        "env",
        [
            {"HOME": None},
            {"HOME": None, "ONDEVICE_HOME": None},
            {"HOME": "", "ONDEVICE_HOME": None},
            {"HOME": "/dev/null", "ONDEVICE_HOME": None, "HF_HOME": None},
            {"ONDEVICE_HOME": "/dev/null/home"},
            {"ONDEVICE_HOME": "/proc/self/home"},
            {"TERM": None},
            {"TERM": "no-such-terminal"},
            {"LANG": None, "LC_ALL": "C"},
            {"PYTHONIOENCODING": "ascii"},
            {"PATH": ""},
        ],
        ids=str,
    )
    def test_does_not_keep_the_list_from_being_shown(
        self, env: dict[str, str | None], cli: Cli
    ) -> None:
        outcome = cli("list", env=env)
        assert (outcome.code, outcome.err) == (0, "")
        assert outcome.out.startswith("MODEL ")

    @pytest.mark.parametrize(
        "folder", ["/dev/null/home", "/proc/self/home"], ids=["under-a-file", "not-writable"]
    )
    def test_without_a_place_to_write_still_answers(self, folder: str, cli: Cli) -> None:
        outcome = cli(*SHORT, env={"ONDEVICE_HOME": folder})
        assert (outcome.code, outcome.err) == (0, "")
        assert "Paris" in outcome.out

    @pytest.mark.parametrize("name", ["with space", "ünï 文"])
    def test_may_name_any_home(self, name: str, cli: Cli, tmp_path: Path) -> None:
        home = tmp_path / name
        (home / "config").mkdir(parents=True)
        (home / "config" / "settings.toml").write_text('model = "no-such-model"')
        outcome = cli("run", "hi", env={"ONDEVICE_HOME": str(home)})
        assert "no-such-model" in outcome.err

    def test_of_a_narrow_encoding_costs_a_character_not_the_command(
        self, cli: Cli, tmp_path: Path, starter_path: Path
    ) -> None:
        path = tmp_path / "文.gguf"
        path.symlink_to(starter_path)
        outcome = cli("show", path, env={"PYTHONIOENCODING": "latin-1"})
        assert (outcome.code, outcome.err) == (0, "")
        assert "?.gguf" in outcome.out


class TestATerminal:
    @staticmethod
    def shown(environment: dict[str, str], *arguments: str) -> str:
        """All that the command writes to a terminal."""
        command = pexpect.spawn(
            arguments[0], list(arguments[1:]), env=environment, encoding="utf-8", timeout=60
        )
        said = command.read()
        command.close()
        assert isinstance(said, str)
        return said

    def test_is_shown_styles(self, environment: dict[str, str]) -> None:
        assert "\x1b[1m" in self.shown(environment, str(SCRIPT), "list")

    @pytest.mark.parametrize("change", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": ""}], ids=str)
    def test_is_shown_none_where_they_are_unwelcome(
        self, change: dict[str, str], environment: dict[str, str]
    ) -> None:
        shown = self.shown(environment | change, str(SCRIPT), "list")
        assert "\x1b" not in shown
        assert "MODEL" in shown

    EVENTS = r"""
import sys
from ondevice.cli.run import _show_event
from ondevice.domain.generation import EngineNotice, TextDelta
for text in sys.argv[1:]:
    _show_event(TextDelta(text, 1, 0.0, 1, 0.0), quiet=False, talk=True)
    _show_event(EngineNotice("x", text), quiet=False, talk=True)
"""
    HOSTILE = ("\x1b]52;c;aGk=\x07clip", "\x9b2Jclear", "\x1b[31mred", "a\u202eb", "back\x08")

    def test_is_shown_nothing_it_would_obey(self, environment: dict[str, str]) -> None:
        code = self.EVENTS
        shown = self.shown(
            environment | {"NO_COLOR": "1"}, sys.executable, "-c", code, *self.HOSTILE
        )
        for harmful in ("\x1b]", "\x9b", "\x1b[31m", "\u202e", "\x08", "\x07"):
            assert harmful not in shown
        assert "clip" in shown

    def test_is_what_a_pipe_is_not(self, environment: dict[str, str]) -> None:
        """Data stays as the model wrote it."""
        written = subprocess.run(
            [sys.executable, "-c", self.EVENTS, *self.HOSTILE],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert written.stdout == "".join(self.HOSTILE)
        assert "\x1b" not in written.stderr
