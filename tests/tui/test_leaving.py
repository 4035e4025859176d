"""Leaving in good order, whatever ends the app, on a real terminal."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from stage import PATIENCE_S
from terminal import RESTORED, Terminal

from ondevice.domain.session import StoredMessage
from ondevice.storage.database import Database
from ondevice.storage.sessions import Sessions

LONG = {"pieces": ["word "], "repeat": 2000, "delay_s": 0.05}

ENDINGS = {
    "SIGTERM": (lambda terminal: terminal.signal(signal.SIGTERM), 128 + signal.SIGTERM),
    "SIGHUP": (lambda terminal: terminal.signal(signal.SIGHUP), 128 + signal.SIGHUP),
    "F10": (lambda terminal: terminal.write("f10"), 0),
}


def stored(folder: Path) -> list[StoredMessage]:
    """The conversation used last, as the next start finds it."""
    # no Stage: it writes its script, which a child that starts slowly may not have read yet
    with closing(Database(folder / "data" / "ondevice.db", PATIENCE_S)) as database:
        sessions = Sessions(database)
        recent = sessions.recent()
        return sessions.messages(recent[0].id) if recent else []


def stored_part(folder: Path) -> str:
    """What is stored of the newest answer, read beside the running app."""
    with closing(sqlite3.connect(folder / "data" / "ondevice.db")) as database:
        (part,) = database.execute(
            "SELECT content FROM message ORDER BY id DESC LIMIT 1"
        ).fetchone()
    return str(part)


def begin_answer(terminal: Terminal) -> Terminal:
    terminal.wait_ready()
    terminal.write("question\r")
    terminal.expect("word")
    return terminal


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "mid-answer"])
def test_the_terminal_is_restored_and_nothing_stays(
    open_terminal: Callable[..., Terminal], ending: str, busy: bool, tmp_path: Path
) -> None:
    leave, code = ENDINGS[ending]
    terminal = open_terminal(**LONG)
    if busy:
        begin_answer(terminal)
    else:
        terminal.wait_ready()
    leave(terminal)
    assert terminal.exit_code() == code
    after = terminal.raw[terminal.raw.rfind(b"\x1b[?1049h") :]
    assert [what for what, sequence in RESTORED.items() if sequence not in after] == []
    assert terminal.left_behind() == []
    if busy:
        question, answer = stored(tmp_path)
        assert (question.content, answer.state) == ("question", "interrupted")
        assert answer.content.startswith("word")


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "mid-answer"])
def test_a_closed_window_ends_the_app_and_its_engine(
    open_terminal: Callable[..., Terminal], busy: bool, tmp_path: Path
) -> None:
    terminal = open_terminal(**LONG)
    if busy:
        begin_answer(terminal)
    else:
        terminal.wait_ready()
    terminal.close()
    assert terminal.exit_code() == 128 + signal.SIGHUP
    assert terminal.left_behind() == []
    if busy:
        assert [message.state for message in stored(tmp_path)] == ["complete", "interrupted"]


def test_leaving_while_a_model_loads_does_not_wait_for_it(
    open_terminal: Callable[..., Terminal],
) -> None:
    terminal = open_terminal(load_hangs=True)
    terminal.expect("loading")
    terminal.write("f10")
    assert terminal.exit_code() == 0


@pytest.mark.parametrize(
    "times", [pytest.param(5, id="5"), pytest.param(500, id="500", marks=pytest.mark.soak)]
)
@pytest.mark.timeout(3000)
def test_a_killed_app_loses_no_question_and_leaves_no_engine(
    open_terminal: Callable[..., Terminal], times: int, tmp_path: Path
) -> None:
    for first in range(0, times, 5):  # five at a time: most of it is waiting
        terminals = {str(n): open_terminal(folder=str(n), **LONG) for n in range(first, first + 5)}
        for terminal in terminals.values():
            begin_answer(terminal)
        for folder, terminal in terminals.items():
            home = tmp_path / folder
            terminal.read_until(lambda home=home: stored_part(home))
            terminal.signal(signal.SIGKILL)
            assert terminal.exit_code() == -signal.SIGKILL
            assert terminal.left_behind() == []
            question, answer = stored(home)
            assert (question.content, answer.state) == ("question", "interrupted")
            assert answer.content.startswith("word")


def test_a_terminal_that_is_not_read_cannot_keep_the_app_alive(
    open_terminal: Callable[..., Terminal],
) -> None:
    terminal = begin_answer(open_terminal(**LONG))
    terminal.wait_stalled()
    terminal.signal(signal.SIGTERM)
    assert terminal.wait_unread() == 128 + signal.SIGTERM
    assert terminal.left_behind() == []


def test_a_storm_of_resizes_and_a_tiny_terminal_are_survived(
    open_terminal: Callable[..., Terminal],
) -> None:
    terminal = begin_answer(open_terminal(**LONG))
    for step in range(100):
        terminal.resize(20 + step * 7 % 150, 5 + step * 3 % 50)
    terminal.resize(20, 5)
    terminal.write("typed")
    terminal.expect("typed")
    terminal.resize(80, 24)
    terminal.expect("F10")
    terminal.write("f10")
    terminal.expect("What you wrote is not sent.")
    terminal.write("f10")
    assert terminal.exit_code() == 0
