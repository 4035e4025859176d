"""The installed command, run as a person or a script runs it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import PATIENCE_S, SCRIPT, Cli, Outcome, StartCli
from line_chat import EchoChat, echo_chats


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def environment(home: Path, tmp_path: Path) -> dict[str, str]:
    """Of a machine on which only the packages carry models."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return kept | {
        "HOME": str(tmp_path / "user"),
        "HF_HOME": str(tmp_path / "hf"),
        "ONDEVICE_HOME": str(home),
        "TERM": "xterm-256color",
    }


@pytest.fixture
def start_cli(environment: dict[str, str]) -> Iterator[StartCli]:
    """`start_cli(*arguments, env={name: value or None})`: the running command."""
    started: list[subprocess.Popen[bytes]] = []

    def start(
        *arguments: str | Path,
        env: dict[str, str | None] | None = None,
        redirect: str = "",
        **pipes: int,
    ) -> subprocess.Popen[bytes]:
        changed = environment | (env or {})
        command = [str(SCRIPT), *map(str, arguments)]
        if redirect:
            command = ["sh", "-c", f'exec "$0" "$@" {redirect}', *command]
        started.append(
            subprocess.Popen(
                command,
                env={name: value for name, value in changed.items() if value is not None},
                **{  # type: ignore[call-overload]
                    "stdin": subprocess.DEVNULL,
                    "stdout": subprocess.PIPE,
                    "stderr": subprocess.PIPE,
                }
                | pipes,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def cli(start_cli: StartCli) -> Cli:
    """`cli(*arguments, piped=text, env={...}, redirect="<&-")`: how the command ended."""

    def run(
        *arguments: str | Path,
        piped: bytes | None = None,
        env: dict[str, str | None] | None = None,
        redirect: str = "",
    ) -> Outcome:
        stdin = subprocess.DEVNULL if piped is None else subprocess.PIPE
        process = start_cli(*arguments, env=env, redirect=redirect, stdin=stdin)
        out, err = process.communicate(piped, PATIENCE_S)
        return Outcome(process.returncode, out.decode(), err.decode())

    return run


@pytest.fixture
def echo_chat(environment: dict[str, str], tmp_path: Path) -> Iterator[EchoChat]:
    """Line-mode chats with a scripted model, which end with the test."""
    yield from echo_chats(environment, tmp_path / "scripts")


@pytest.fixture
def all_on_a_gpu(home: Path) -> None:
    """The settings ask for a GPU, of which this build says that it has none."""
    (home / "config").mkdir(parents=True)
    (home / "config" / "settings.toml").write_text('gpu_layers = "all"\n')
