"""Nothing here opens a socket that could leave the machine: not Python, not the native library."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pexpect
import psutil
import pytest
from command import PATIENCE_S, Cli, StartCli, child_of

from ondevice.domain.model import ModelFile

HOOK = """
import os, socket, sys
def watch(event, arguments):
    if event == "socket.__new__" and arguments[1] in (socket.AF_INET, socket.AF_INET6):
        note(f"{event} {arguments[1]}")
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect", "socket.bind"):
        if not (event in ("socket.connect", "socket.bind") and isinstance(arguments[1], str)):
            note(event)
def note(what):
    with open(os.environ["SOCKETS_SEEN"], "a") as file:
        file.write(f"{what} in {sys.argv}\\n")
with open(os.environ["SOCKETS_SEEN"] + ".hooked", "a") as file:
    file.write(f"{os.getpid()}\\n")
sys.addaudithook(watch)
"""

ESCAPE, F10 = "\x1b", "\x1b[21~"
SCREENS = {"\x1bOQ": "FITS", "\x1bOS": "MESSAGES", "\x0c": "Costs", "\x1b[20~": "kv_type"}
"""F2, F4, Ctrl+L and F9, with a word that stands on their screen alone."""


@pytest.fixture
def seen(tmp_path: Path, environment: dict[str, str]) -> Path:
    """Where every process that is started notes the sockets it opens; absent while there are none.

    It works through `sitecustomize`, so it is also in the engine's process.
    """
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK)
    environment["PYTHONPATH"] = str(tmp_path / "hook")
    environment["SOCKETS_SEEN"] = str(tmp_path / "sockets")
    return tmp_path / "sockets"


def hooked_processes(seen: Path) -> int:
    return len(seen.with_name(seen.name + ".hooked").read_text().splitlines())


@pytest.mark.parametrize(
    ("arguments", "processes"),
    [
        (["run", "-n", "2", "-c", "128", "hi"], 2),
        (["list"], 1),
        (["show", "starter"], 1),
        (["doctor"], 2),
        (["run", "-m", "phi-3.5-mini-instruct", "hi"], 1),
        (["sessions"], 1),
        (["chat", "--private", "-n", "2"], 2),
        (["costs", "--baseline", "gpt-6.1-sol"], 1),
        (["pull", "starter"], 1),
        (["pull", "phi-3.5-mini-instruct", "--dry-run"], 1),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, list) else "",
)
def test_no_command_opens_a_socket(
    arguments: list[str], processes: int, cli: Cli, seen: Path
) -> None:
    outcome = cli(*arguments)
    assert "Traceback" not in outcome.err
    assert hooked_processes(seen) >= processes
    assert not seen.exists(), seen.read_text()


def test_neither_the_app_nor_its_engine_opens_one(seen: Path, environment: dict[str, str]) -> None:
    """Through an answer of the real model and every screen meanwhile."""
    window = pexpect.spawn(
        sys.executable,
        ["-m", "ondevice.cli.main"],
        env=environment,
        dimensions=(40, 120),
        timeout=PATIENCE_S,
    )
    window.expect("answers on this machine")
    window.send("Write a long story.\r")
    window.expect("tok/s")
    app = psutil.Process(window.pid)
    assert [internet_sockets(each) for each in (app, *app.children())] == [[], []]
    for key, title in SCREENS.items():
        window.send(key)
        window.expect(title)
        window.send(ESCAPE)
        window.expect("Live")  # the chat's panel again
    window.send(F10)
    window.expect(pexpect.EOF)
    window.close()
    assert window.exitstatus == 0
    assert hooked_processes(seen) >= 2
    assert not seen.exists(), seen.read_text()


def test_the_hook_would_see_one(seen: Path, environment: dict[str, str]) -> None:
    code = "import socket; socket.socket(socket.AF_INET6).close()"
    subprocess.run([sys.executable, "-P", "-c", code], env=environment, check=True)
    assert "socket.__new__" in seen.read_text()


def internet_sockets(process: psutil.Process) -> list[object]:
    return list(process.net_connections(kind="inet"))


def test_no_native_code_holds_one_while_it_generates(
    start_cli: StartCli, either_file: ModelFile
) -> None:
    model = ("-m", str(either_file.path))
    process = start_cli("run", *model, "--raw", "--ignore-eos", "-n", "100000", "Once")
    assert process.stdout is not None
    assert process.stdout.read(1)
    for each in (psutil.Process(process.pid), child_of(process)):
        assert internet_sockets(each) == []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        control.bind(("127.0.0.1", 0))
        assert len(internet_sockets(psutil.Process(os.getpid()))) >= 1
