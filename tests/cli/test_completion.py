"""`ondevice completion`: its scripts, what they are offered, and a real bash with one of them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from command import PATIENCE_S, SCRIPT, Cli

CLEAR = "\x15"  # Ctrl-U


@pytest.fixture
def with_command(environment: dict[str, str]) -> dict[str, str]:
    """Where `ondevice` is a command."""
    return environment | {"PATH": f"{SCRIPT.parent}:{environment['PATH']}", "PS1": "$ "}


@pytest.fixture
def bash(with_command: dict[str, str], tmp_path: Path) -> Iterator[Any]:
    """At its prompt, with the script, in a folder of its own."""
    here = tmp_path / "here"
    here.mkdir()
    window = pexpect.spawn(
        "bash", ["--norc", "--noprofile", "-i"], env=with_command, cwd=str(here),
        encoding="utf-8", timeout=PATIENCE_S, dimensions=(24, 200),
    )  # fmt: skip
    window.sendline('eval "$(ondevice completion bash)"; echo do""ne')
    window.expect("done")
    yield window
    window.close(force=True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_shell(shell: str, cli: Cli) -> None:
    outcome = cli("completion", shell)
    assert (outcome.code, outcome.err) == (0, "")
    assert f"_ONDEVICE_COMPLETE={shell}_complete" in outcome.out


def test_that_for_bash_is_accepted_by_it(cli: Cli, tmp_path: Path) -> None:
    script = tmp_path / "ondevice.bash"
    script.write_text(cli("completion", "bash").out)
    checked = subprocess.run(["bash", "-n", script], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("ondevice li", "list"),
        ("ondevice run --thr", "--threads"),
        ("ondevice completion ", "zsh"),
    ],
    ids=["command", "option", "choice"],
)
def test_what_fits_is_offered(words: str, offered: str, cli: Cli) -> None:
    asked = {
        "_ONDEVICE_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    outcome = cli(env=asked)
    assert outcome.err == ""
    assert f"plain,{offered}" in outcome.out.splitlines()


@pytest.mark.parametrize(
    ("begun", "completed"),
    [
        ("run -m smol", "lm2-135m-instruct "),
        ("-m smol", "lm2-135m-instruct "),
        ("pull phi-3.5", "-mini-instruct "),
        ("perplexity smol", "lm2-135m-instruct "),
        ("run -m ./my-m", "odel.gguf "),
        ("show my-m", "odel.gguf "),
        ("run --lora ad", "apter.gguf "),
        ("sess", "ions "),
    ],
    ids=lambda value: value if "." not in value or " " in value.strip() else "",
)
def test_bash_completes_names_and_files(
    begun: str, completed: str, bash: Any, tmp_path: Path
) -> None:
    for name in ("my-model.gguf", "adapter.gguf"):
        (tmp_path / "here" / name).touch()
    bash.send(f"{CLEAR}ondevice {begun}\t")
    bash.expect_exact(f"ondevice {begun}{completed}")


def test_only_models_that_are_here_are_offered_to_be_run(bash: Any) -> None:
    bash.send(f"{CLEAR}ondevice run -m phi-3.5\t\t-x")
    bash.expect_exact("phi-3.5")
    bash.expect_exact("-x")
    assert "mini" not in bash.before


def test_the_lines_of_its_help_put_the_script_where_bash_looks(
    cli: Cli, with_command: dict[str, str], tmp_path: Path
) -> None:
    _, _, told = cli("completion", "--help").out.partition("bash, with the package")
    lines = told.split("\n\n")[0].splitlines()[1:]
    home = tmp_path / "someone"
    done = subprocess.run(
        ["bash", "-ec", "\n".join(lines)], env=with_command | {"HOME": str(home)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    script = home / ".local" / "share" / "bash-completion" / "completions" / "ondevice"
    assert "_ONDEVICE_COMPLETE=bash_complete" in script.read_text()
