"""A day of chatting in minutes: what the app holds at its end is what it held in the morning.

A day is 1,440 turns in 48 sessions, 96 changes of the model at least, and 24 crashes of an engine.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from terminal import Terminal

from ondevice import units
from ondevice.hardware.sampler import read_process

QUICK = ("echo-model", "second-model")
SLOW = tuple(f"slow-{number}" for number in range(4))
"""Their engines crash, in turn: three crashes of one model in a minute block it."""
SESSION, MODEL, CRASH = 30, 15, 60
"""A new session, another model, a crash every so many turns."""
GROWTH = 1.05
ANSWER = ["An *answer* ", "of some words, ", "and\n\n```python\n", "x = 1\n", "```\n"]


@dataclass(frozen=True)
class Held:
    """What the app holds while an empty session is on its screen."""

    private_bytes: int
    descriptors: int
    processes: int
    files: frozenset[str]

    @property
    def summary(self) -> str:
        private = units.size(self.private_bytes)
        return f"{private} private, {self.descriptors} descriptors, {len(self.files)} files"


class Day:
    """Drives the app by its keys, and looks at what it stores and holds."""

    def __init__(self, terminal: Terminal, folder: Path) -> None:
        self._terminal, self._folder = terminal.wait_ready(), folder
        self.switches = self.crashes = 0

    def pass_by(self, turns: int) -> None:
        for number in range(1, turns + 1):
            self._turn(number)
            if number % SESSION == 0:
                self._new_session()
            if number % MODEL == 0:
                self._change_model(QUICK[number // MODEL % 2])
            if number % CRASH == 0:
                self._crash(SLOW[number // CRASH % 4])
                self._change_model(QUICK[0])

    def held(self) -> Held:
        self._new_session()
        process = self._terminal.process
        private = read_process(process.pid, ()).private_bytes
        assert private is not None
        files = frozenset(str(path) for path in self._folder.rglob("*"))
        return Held(private, process.num_fds(), len(process.children(recursive=True)), files)

    def answers(self, state: str) -> int:
        """How many are stored."""
        with closing(sqlite3.connect(self._folder / "data" / "ondevice.db")) as database:
            query = "SELECT count(*) FROM message WHERE role = 'assistant' AND state = ?"
            return int(database.execute(query, (state,)).fetchone()[0])

    def _turn(self, number: int) -> None:
        before = self.answers("complete")
        self._terminal.write(f"question {number}\r")
        self._terminal.read_until(lambda: self.answers("complete") > before)

    def _new_session(self) -> None:
        self._terminal.write("f8")
        self._terminal.expect("New session")

    def _change_model(self, name: str) -> None:
        self._terminal.write("f2")
        self._terminal.expect("here first")
        self._terminal.write("/")
        self._terminal.expect("Type to filter")
        self._terminal.write(name)
        self._terminal.expect("1 of ")
        self._terminal.write("\r")
        # the model may be the one in use, so its name alone does not tell that it was chosen
        self._terminal.read_until(lambda: "ondevice  Models" not in self._terminal.text())
        self._terminal.expect(f"{name} Q4_K_M · echo")
        self.switches += 1

    def _crash(self, name: str) -> None:
        """Its engine is killed in the middle of an answer, and loaded again."""
        self._change_model(name)
        before = self.answers("interrupted")
        self._terminal.write("question\r")
        self._terminal.read_until(lambda: self.answers("streaming"))
        (engine,) = self._terminal.process.children()
        engine.kill()
        self._terminal.expect("F5 loads it again")
        self._terminal.read_until(lambda: self.answers("interrupted") > before)
        self._terminal.write("f5")
        self._terminal.expect(f"{name} Q4_K_M · echo")
        self.crashes += 1


@pytest.mark.parametrize(
    ("morning", "turns", "growth"),
    [
        pytest.param(15, 60, 1.5, id="an hour"),
        pytest.param(180, 1440, GROWTH, id="a day", marks=pytest.mark.soak),
    ],
)
@pytest.mark.timeout(3000)
def test_a_day_leaves_nothing_in_the_app(
    open_terminal: Callable[..., Terminal], tmp_path: Path, morning: int, turns: int, growth: float
) -> None:
    slow = {"pieces": ["word "], "repeat": 2000, "delay_s": 0.02}
    terminal = open_terminal(120, 40, pieces=ANSWER, more=dict.fromkeys(SLOW, slow))
    day = Day(terminal, tmp_path)
    day.pass_by(morning)
    before = day.held()
    day.pass_by(turns)
    after = day.held()
    print(f"\n{day.switches} changes of the model, {day.crashes} crashes: {before.summary}")
    print(f"then {after.summary}")
    assert day.answers("complete") == morning + turns
    assert after.private_bytes < before.private_bytes * growth
    assert after.descriptors == before.descriptors
    assert after.processes == before.processes == 1
    assert after.files == before.files
    terminal.write("f10")
    assert terminal.exit_code() == 0
    assert terminal.left_behind() == []
