"""`ondevice settings`: what it lists and changes, and that commands use what it keeps."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from command import Cli

from ondevice.cli.exits import Exit
from ondevice.settings import SETTINGS


@pytest.fixture
def path(home: Path) -> Path:
    (home / "config").mkdir(parents=True)
    return home / "config" / "settings.toml"


def done(cli: Cli, *arguments: str) -> str:
    """What a command that went well printed."""
    outcome = cli("settings", *arguments)
    assert (outcome.code, outcome.err) == (0, "")
    return outcome.out


def test_without_a_file_every_setting_is_listed_at_its_default(cli: Cli, home: Path) -> None:
    lines = done(cli).splitlines()
    assert [line.split()[0] for line in lines] == [setting.name for setting in SETTINGS]
    assert all("  default  " in line for line in lines)
    (watts,) = [line for line in lines if line.startswith("watts ")]
    assert watts.split()[1] == "unknown"
    assert not home.exists()


def test_as_data_it_says_where_a_value_comes_from(cli: Cli, path: Path) -> None:
    path.write_text("watts = 45.50\n[presets]\ntutor = 'You teach.'\n")
    document = json.loads(done(cli, "--json"))
    assert document["path"] == str(path)
    assert document["troubles"] == []
    by_name = {each["name"]: each for each in document["settings"]}
    assert list(by_name) == [setting.name for setting in SETTINGS]
    assert by_name["watts"]["value"] == "45.50"
    assert by_name["watts"]["from"] == "file"
    assert by_name["tariff_usd_per_kwh"]["value"] is None
    assert by_name["presets"]["value"] == {"tutor": "You teach."}
    assert by_name["threads"] == {
        "name": "threads",
        "value": 0,
        "default": 0,
        "from": "default",
        "group": "Model",
        "about": by_name["threads"]["about"],
        "holds": "from the next load",
    }


def test_a_value_is_set_read_and_unset(cli: Cli, path: Path) -> None:
    for name, typed, printed in [
        ("threads", "3", "3\n"),
        ("sampling.temperature", "0.2", "0.2\n"),
        ("watts", "45.50", '"45.50"\n'),
        ("keep_prefixes", "off", "false\n"),
        ("download_bytes_per_s", "5M", f"{5 << 20}\n"),
        ("system", "Be brief.", "Be brief.\n"),
        ("presets.tutor", "You teach.\nWell.", "You teach.\nWell.\n"),
        ("presets.pasted", "You teach.\r\nWell.", "You teach.\nWell.\n"),
        ("system", "a\r\nb\rc", "a\nb\nc\n"),
        ("theme", "nord", "nord\n"),
        ("keymap.app.help", "f12", "f12\n"),
        ("baseline", "gpt-4-turbo", "gpt-4-turbo\n"),
    ]:
        assert done(cli, "set", name, typed) == ""
        assert done(cli, "get", name) == printed
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert done(cli, "unset", "threads") == ""
    assert done(cli, "get", "threads") == "0\n"
    assert done(cli, "get", "tariff_usd_per_kwh") == ""
    sources = {line.split()[0]: "  file  " in line for line in done(cli).splitlines()}
    assert (sources["watts"], sources["threads"]) == (True, False)
    assert done(cli, "path") == f"{path}\n"


class TestWhatIsKeptOfConversations:
    @pytest.fixture
    def state(self, home: Path) -> Path:
        path = home / "data" / "states" / f"1-{'a' * 16}.state"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"the conversation")
        return path

    @pytest.mark.parametrize(
        ("name", "value", "stays"),
        [
            ("keep_prefixes", "off", False),
            ("keep_prefixes", "on", True),
            ("keep_prefixes_bytes", "16", True),
            ("keep_prefixes_bytes", "15", False),
            ("threads", "2", True),
        ],
    )
    def test_goes_with_the_command_that_says_so(
        self, name: str, value: str, stays: bool, state: Path, cli: Cli
    ) -> None:
        assert done(cli, "set", name, value) == ""
        assert state.exists() == stays

    def test_goes_with_the_edited_file(
        self, state: Path, cli: Cli, path: Path, tmp_path: Path
    ) -> None:
        editor = tmp_path / "editor"
        editor.write_text("#!/bin/sh\necho 'keep_prefixes = false' > \"$1\"\n")
        editor.chmod(0o700)
        assert cli("settings", "edit", env={"VISUAL": str(editor)}).code == 0
        assert not state.exists()


REFUSED = [
    (["set", "thread", "3"], "no setting is called thread", "Did you mean threads?"),
    (["get", "thread"], "no setting is called thread", "Did you mean threads?"),
    (["unset", "thread"], "no setting is called thread", "Did you mean threads?"),
    (["set", "threads", "1,5"], "threads must be a whole number from 0 to 512", "Threads that"),
    (["set", "threads", "many"], "threads must be a whole number from 0 to 512", "Threads that"),
    (["set", "theme", "nrod"], "no theme is called nrod", "Did you mean nord?"),
    (["set", "baseline", "gpt-4-trubo"], "gpt-4-trubo", "gpt-4-turbo"),
    (["set", "keymap.app.hlp", "f12"], "nothing is called app.hlp", "did you mean app.help?"),
    (["set", "keymap.app.help", "f13x"], "no key is called f13x", "did you mean f13?"),
    (["set", "keymap.app.help", "f2"], "f2 is the key of app.models", "Choose another key"),
    (["set", "keymap.app.help", "ctrl+s"], "ctrl+s stops the output", "Choose another key"),
    (["set", "keymap.app.help", "x"], "x would be typed", "Choose another key"),
    (["set", "presets", "x"], "presets is a table", "System prompts by name."),
    (["bogus"], "No such command 'bogus'", "ondevice settings --help"),
]


@pytest.mark.parametrize(
    ("arguments", "said", "hint"), REFUSED, ids=[" ".join(each[0]) for each in REFUSED]
)
def test_what_cannot_be_is_refused_with_the_nearest_or_the_range(
    arguments: list[str], said: str, hint: str, cli: Cli, home: Path
) -> None:
    outcome = cli("settings", *arguments)
    assert (outcome.code, outcome.out) == (Exit.USAGE, "")
    assert len(outcome.err.splitlines()) == 2
    assert said in outcome.err
    assert hint in outcome.err
    assert not home.exists()


def test_an_embedding_model_is_not_kept(cli: Cli) -> None:
    outcome = cli("settings", "set", "model", "nomic-embed-text-v1.5")
    assert outcome.code == 3
    assert "it turns text into vectors and does not chat" in outcome.err


def test_a_model_is_known_before_it_is_kept(cli: Cli, home: Path) -> None:
    outcome = cli("settings", "set", "model", "no-such-model")
    assert outcome.code == Exit.MODEL
    assert not home.exists()
    outcome = cli("settings", "set", "model", "phi-3.5-mini-instruct")
    assert (outcome.code, outcome.out) == (0, "")
    assert "is not on this machine" in outcome.err
    assert done(cli, "get", "model") == "phi-3.5-mini-instruct\n"


def test_a_fault_in_the_file_is_said_and_the_rest_listed(cli: Cli, path: Path) -> None:
    path.write_text("thread = 2\nwatts = 7\n")
    outcome = cli("settings", "--json")
    assert outcome.code == 0
    assert "no setting is called thread" in outcome.err
    document = json.loads(outcome.out)
    hint = "Did you mean threads? To mend it: ondevice settings edit"
    assert document["troubles"] == [{"message": "no setting is called thread", "hint": hint}]


def test_another_fault_of_the_file_is_not_taken_for_a_failure(cli: Cli, path: Path) -> None:
    path.write_text("thread = 2\n")
    outcome = cli("settings", "set", "watts", "7")
    assert (outcome.code, path.read_text().split("\n")[-2]) == (0, "watts = 7")
    first, second, _ = outcome.err.splitlines()
    assert first.startswith("ondevice: watts is set; still wrong in ")
    assert "no setting is called thread" in second
    assert cli("settings", "unset", "watts").err.startswith("ondevice: watts is at its default; ")


def test_a_file_that_is_no_toml_is_left_alone(cli: Cli, path: Path) -> None:
    path.write_text("threads = [")
    outcome = cli("settings", "set", "threads", "2")
    assert outcome.code == Exit.USAGE
    assert "is not TOML" in outcome.err
    assert path.read_text() == "threads = ["


def test_an_editor_gets_a_file_with_every_setting(cli: Cli, path: Path, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text(f'#!/bin/sh\necho "thread = 2" >> "$1"\ncp "$1" {tmp_path}/seen\n')
    editor.chmod(0o755)
    outcome = cli("settings", "edit", env={"EDITOR": str(editor), "VISUAL": None})
    assert outcome.code == Exit.USAGE
    assert "thread" in outcome.err
    seen = (tmp_path / "seen").read_text()
    assert all(f"\n# {name} = " in seen for name in ("threads", "temperature", "watts", "theme"))
    assert path.exists()


def test_an_editor_that_does_not_start_is_a_line_and_no_traceback(cli: Cli) -> None:
    outcome = cli("settings", "edit", env={"EDITOR": "/no/such/editor", "VISUAL": None})
    assert outcome.code != 0
    assert "Traceback" not in outcome.err


def test_a_folder_that_takes_no_file_is_an_error_with_a_hint(cli: Cli) -> None:
    outcome = cli("settings", "set", "threads", "2", env={"ONDEVICE_HOME": "/dev/null/home"})
    assert outcome.code == Exit.USAGE
    assert "cannot be written" in outcome.err
    assert "ONDEVICE_HOME" in outcome.err


def test_run_uses_the_settings_and_an_option_goes_before_them(cli: Cli, path: Path) -> None:
    path.write_text(
        "context = 512\nthreads = 1\nkv_type = 'q8_0'\nmax_tokens = 5\n"
        "[sampling]\ntemperature = 0\n"
    )
    first, again = (json.loads(cli("run", "--json", "Count to nine.").out) for _ in range(2))
    assert (first["n_ctx"], first["threads"]) == (512, 1)
    assert first["usage"]["completion_tokens"] == 5
    assert [notice["code"] for notice in first["notices"]] == ["flash_attention"]
    assert first["text"] == again["text"]
    asked = ("-n", "3", "-c", "768", "--kv-type", "f16", "-t", "0")
    other = json.loads(cli("run", "--json", *asked, "Count to nine.").out)
    assert (other["n_ctx"], other["usage"]["completion_tokens"]) == (768, 3)
    assert other["notices"] == []


def test_run_begins_with_the_system_prompt_of_the_settings(cli: Cli, path: Path) -> None:
    def prompt_tokens(*arguments: str) -> int:
        document = json.loads(cli("run", "--json", "-n", "1", *arguments, "hi").out)
        tokens: int = document["usage"]["prompt_tokens"]
        return tokens

    long = "You are a patient teacher who explains one thing after another. " * 4
    path.write_text(f"system = 'tutor'\n[presets]\ntutor = '{long}'\nbrief = 'Be brief.'\n")
    taught = prompt_tokens()
    assert taught == prompt_tokens("-s", long)
    assert prompt_tokens("-s", "brief") == prompt_tokens("-s", "Be brief.") < taught
    assert prompt_tokens("-s", "") < taught


@pytest.mark.parametrize(
    ("content", "refused"),
    [("[sampling]\ntemprature = 0\n", True), ("theem = 'nord'\n", False), ("x = [", True)],
    ids=["of-a-sampling", "of-a-colour", "of-the-whole-file"],
)
def test_a_typo_ends_a_command_only_where_it_may_change_the_result(
    content: str, refused: bool, cli: Cli, path: Path
) -> None:
    path.write_text(content)
    outcome = cli("run", "-n", "1", "hi")
    assert outcome.code == (Exit.USAGE if refused else Exit.OK)
    assert ("temprature" in outcome.err) or ("theem" in outcome.err) or ("TOML" in outcome.err)
    assert bool(outcome.out) is not refused


def test_doctor_finds_a_fault_in_the_settings(cli: Cli, path: Path) -> None:
    path.write_text("thread = 2\n")
    outcome = cli("doctor")
    assert outcome.code == 1
    assert "!!  settings" in outcome.out
    assert "Did you mean threads?" in outcome.out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("theme = 'nrod'\n", "no theme is called nrod. Did you mean nord?"),
        (
            "[keymap]\n'app.help' = 'f12'\nmax_tokens = 'x'\n",
            "settings.toml, [keymap]: nothing is called max_tokens; "
            "the setting max_tokens stands above the first [table]",
        ),
        (
            "[keymap]\nmax_tokens = 9\n",
            "keymap.max_tokens must be a text in quotes; "
            "the setting max_tokens stands above the first [table]",
        ),
        (
            "[sampling]\nmax_tokens = 9\n",
            "no setting is called sampling.max_tokens; "
            "the setting max_tokens stands above the first [table]",
        ),
        (
            "[keymap]\n'top_k' = '5'\n",
            "nothing is called top_k; the setting sampling.top_k stands in [sampling]",
        ),
    ],
    ids=["theme", "strayed", "strayed-number", "strayed-in-sampling", "strayed-of-a-table"],
)
def test_doctor_finds_themes_and_keys_that_there_are_not_and_lines_that_strayed(
    content: str, said: str, cli: Cli, path: Path
) -> None:
    path.write_text(content)
    outcome = cli("doctor")
    assert outcome.code == 1
    (fault,) = [line for line in outcome.out.splitlines() if line.startswith("!!  settings ")]
    assert said in fault
    assert "Mend that line, or remove it: ondevice settings edit" in outcome.out


def test_completion_offers_the_names_of_settings(cli: Cli) -> None:
    words = "ondevice settings get sampling.t"
    asked = {
        "_ONDEVICE_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": "3",
    }
    offered = cli(env=asked).out.splitlines()
    assert offered == ["plain,sampling.temperature", "plain,sampling.top_k", "plain,sampling.top_p"]
