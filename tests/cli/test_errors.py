"""Trouble is one line and a hint on stderr, with its exit code; stdout stays empty."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import Cli, Outcome

from ondevice import errors
from ondevice.cli.exits import Exit, exit_for


def all_errors(kind: type[errors.OnDeviceError]) -> list[type[errors.OnDeviceError]]:
    return [kind, *(deeper for sub in kind.__subclasses__() for deeper in all_errors(sub))]


def assert_refused(outcome: Outcome, code: int, *said: str) -> None:
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    lines = outcome.err.splitlines()
    assert len(lines) == 2, outcome.err
    assert lines[0].startswith("ondevice: ")
    assert lines[1].startswith("  ")
    assert lines[1].strip()
    for text in said:
        assert text in outcome.err
    assert outcome.code == code
    assert "\x1b" not in outcome.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--lora", "x.gguf:inf"], Exit.USAGE, "the scale of a LoRA adapter is inf"),
        (["run", "-m", "", "hi"], Exit.USAGE, "it is empty; ondevice list shows names"),
        (["run", "-m", "no-such-model", "hi"], Exit.MODEL, "no model is called 'no-such-model'"),
        (["run", "-m", "smollm2-135m-instrukt", "hi"], Exit.MODEL, "smollm2-135m-instruct"),
        (["run", "-m", "smollm2-135m-instrukt", "hi"], Exit.MODEL, "All of them: ondevice list"),
        (["run", "-m", "zzzzzzzz", "hi"], Exit.MODEL, "has a name like it: ondevice list"),
        (["run", "-m", "phi-3.5-mini-instruct", "hi"], Exit.MODEL, "is not on this machine"),
        (["run", "-m", "./missing.gguf", "hi"], Exit.MODEL, "there is no file missing.gguf"),
        (["run", "-m", "/", "hi"], Exit.MODEL, "is a folder"),
        (["run", "-m", "~nobody-is-this/x.gguf", "hi"], Exit.MODEL, "there is no file"),
        (["run", "-m", "./\x1b[31mred.gguf", "hi"], Exit.MODEL, "[31mred.gguf"),
        (["run"], Exit.USAGE, "there is no prompt"),
        (["run", "  "], Exit.USAGE, "there is no prompt"),
        (["run", "-t", "-1", "hi"], Exit.USAGE, "temperature is -1.0; it must be from 0.0 to"),
        (["run", "-t", "nan", "hi"], Exit.USAGE, "temperature is nan"),
        (["run", "-t", "warm", "hi"], Exit.USAGE, "'warm' is no number"),
        (["run", "-n", "abc", "hi"], Exit.USAGE, "'abc' is no whole number"),
        (["run", "--top-k", "1.5", "hi"], Exit.USAGE, "'1.5' is no whole number"),
        (["run", "--top-k", "-3", "hi"], Exit.USAGE, "top_k is -3"),
        (["run", "--seed", str(2**32), "hi"], Exit.USAGE, "seed is"),
        (["run", "-n", "0", "hi"], Exit.USAGE, "0 is not in the range"),
        (["run", "-c", str(10**30), "hi"], Exit.USAGE, "is not in the range"),
        (["run", "--threads", "0", "hi"], Exit.USAGE, "0 is not in the range"),
        (["run", "--raw", "--system", "x", "hi"], Exit.USAGE, "--raw takes no --system"),
        (["run", "--baseline", "no-such-cloud", "hi"], Exit.USAGE, "no-such-cloud"),
        (["run", "--bogus", "hi"], Exit.USAGE, "No such option '--bogus'"),
        (["bogus"], Exit.USAGE, "No such command 'bogus'"),
        (["setings"], Exit.USAGE, "Did you mean 'settings'?"),
        (["--bogus"], Exit.USAGE, "Try: ondevice --help"),
        (["list", "--bogus"], Exit.USAGE, "Try: ondevice list --help"),
        (["show"], Exit.USAGE, "Missing argument 'MODEL'"),
        (["show", "no-such-model"], Exit.MODEL, "no model is called"),
        (["show", "startr"], Exit.MODEL, "Did you mean starter"),
        (["show", "/nowhere/x.gguf"], Exit.MODEL, "there is no file"),
        (["pull"], Exit.USAGE, "Missing argument 'MODEL'"),
        (["pull", "no-such-model"], Exit.MODEL, "no model is called"),
        (["pull", "./x.gguf"], Exit.MODEL, "there is no file x.gguf"),
        (["pull", "/"], Exit.USAGE, "is a path on this machine"),
        (["pull", "starter", "--quant", "Q9"], Exit.USAGE, "has no Q9"),
        (["pull", "starter", "--limit-rate", "fast"], Exit.USAGE, "'fast' is no rate"),
        (["search"], Exit.USAGE, "Missing argument 'TEXT...'"),
        (["search", " "], Exit.USAGE, "there is no text to look for"),
        (["completion", "tcsh"], Exit.USAGE, "'tcsh' is not one of"),
        ([], Exit.USAGE, "the app needs a terminal"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_refused(
    arguments: list[str], code: Exit, said: str, cli: Cli
) -> None:
    assert_refused(cli(*arguments), code, said)


def test_a_file_that_is_no_model_is_refused(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "page.gguf"
    path.write_text("<html>404</html>")
    assert_refused(cli("run", "-m", path, "hi"), Exit.MODEL, "page.gguf")
    assert_refused(cli("show", path), Exit.MODEL, "page.gguf")


@pytest.mark.parametrize("arguments", [["run", "hi", "-m"], ["chat", "-m"], ["show"]], ids=str)
def test_a_folder_that_is_no_model_is_told_what_it_should_hold(
    arguments: list[str], cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path)
    said = ("docs is a folder and no model: it has no genai_config.json", "and a tokenizer")
    assert_refused(cli(*arguments, "docs"), Exit.MODEL, *said)


def test_a_file_without_the_suffix_is_taken_for_one(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "README.md").write_text("# A page")
    monkeypatch.chdir(tmp_path)
    assert_refused(cli("show", "README.md"), Exit.MODEL, "README.md: the file is not GGUF")
    assert_refused(cli("pull", "README.md"), Exit.USAGE, "README.md is a path on this machine")


def test_a_model_file_cut_short_is_refused(cli: Cli, tmp_path: Path, starter_path: Path) -> None:
    path = tmp_path / "short.gguf"
    with starter_path.open("rb") as whole:
        path.write_bytes(whole.read(3 << 20))
    assert_refused(cli("run", "-m", path, "hi"), Exit.MODEL, "short.gguf")


@pytest.mark.parametrize("megabytes", [0.01, 10], ids=["a-little", "a-paste"])
def test_a_prompt_that_does_not_fit_is_refused(megabytes: float, cli: Cli) -> None:
    piped = b"word " * int(megabytes * 200_000)
    outcome = cli("run", "-c", "256", piped=piped)
    assert_refused(outcome, Exit.ENGINE, "256")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("threads = [", "is not TOML"),
        ("thread = 2", "Did you mean threads? To mend it: ondevice settings edit"),
        ('threads = "two"', "must be a whole number"),
        ('model = "no-such-model"', "no model is called 'no-such-model'"),
        ('baseline = "no-such-cloud"', "no-such-cloud"),
    ],
    ids=["syntax", "name", "type", "model", "baseline"],
)
def test_a_bad_settings_file_is_refused(content: str, said: str, cli: Cli, home: Path) -> None:
    (home / "config").mkdir(parents=True)
    (home / "config" / "settings.toml").write_text(content)
    code = Exit.MODEL if "model" in content else Exit.USAGE
    assert_refused(cli("run", "hi"), code, said)


@pytest.mark.parametrize("kind", all_errors(errors.OnDeviceError), ids=lambda kind: kind.__name__)
def test_every_error_has_an_exit_code(kind: type[errors.OnDeviceError]) -> None:
    code = exit_for(kind("message"))
    assert code not in (Exit.OK, Exit.CANCELLED)
    families = {
        errors.UsageTrouble: Exit.USAGE,
        errors.ModelTrouble: Exit.MODEL,
        errors.EngineTrouble: Exit.ENGINE,
        errors.StorageTrouble: Exit.STORAGE,
        errors.DownloadTrouble: Exit.DOWNLOAD,
    }
    expected = {code for family, code in families.items() if issubclass(kind, family)}
    assert expected in ({code}, set())
