"""The folder of states: a cap on all, the oldest goes first, a session's go with it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ondevice.errors import DatabaseUnusable
from ondevice.hardware.locks import claim
from ondevice.storage.states import States

ONE, OTHER = "1" * 64, "2" * 64


@pytest.fixture
def states(tmp_path: Path) -> States:
    return States(tmp_path / "data" / "states", most_bytes=100)


def put(states: States, session: int, sha256: str, size: int, at: int) -> Path:
    """A state of that size, written at that moment."""
    path = states.make_room(session, sha256, size)
    assert path is not None
    path.write_bytes(b"s" * size)
    os.utime(path, ns=(at, at))
    return path


def test_a_session_has_one_state_for_each_model(states: States) -> None:
    first, second = put(states, 1, ONE, 10, at=1), put(states, 1, OTHER, 10, at=2)
    put(states, 1, ONE, 20, at=3)
    assert first != second
    assert states.find(1, ONE) == first
    assert states.find(1, OTHER) == second
    assert states.find(2, ONE) is None
    assert states.total_bytes() == 30


def test_the_oldest_makes_room(states: States) -> None:
    put(states, 1, ONE, 40, at=3)
    put(states, 2, ONE, 40, at=1)
    put(states, 3, ONE, 40, at=5)
    assert states.find(2, ONE) is None
    assert states.find(1, ONE)
    assert states.total_bytes() == 80


def test_what_is_larger_than_the_cap_is_not_kept_and_costs_no_other(states: States) -> None:
    put(states, 1, ONE, 40, at=1)
    assert states.make_room(2, ONE, 101) is None
    assert states.find(1, ONE)
    assert States(states.folder, most_bytes=0).make_room(2, ONE, 1) is None


@pytest.mark.parametrize(
    ("most_bytes", "stay"), [(80, {1, 2, 3}), (79, {1, 3}), (40, {3}), (0, set())], ids=str
)
def test_a_smaller_cap_holds_at_once(states: States, most_bytes: int, stay: set[int]) -> None:
    put(states, 2, ONE, 10, at=1)
    put(states, 1, ONE, 40, at=3)
    put(states, 3, ONE, 30, at=5)
    states.most_bytes = most_bytes
    states.shrink()
    assert {session for session in (1, 2, 3) if states.find(session, ONE)} == stay


def test_a_session_takes_its_states_with_it_and_no_others(states: States) -> None:
    put(states, 1, ONE, 10, at=1)
    put(states, 1, OTHER, 10, at=1)
    put(states, 11, ONE, 10, at=1)
    states.path(1, ONE).with_name(states.path(1, ONE).name + ".part").touch()
    states.delete(1)
    assert [path.name for path in states.folder.iterdir()] == [states.path(11, ONE).name]
    states.delete_all()
    assert list(states.folder.iterdir()) == []
    States(states.folder / "none").delete(1)


def test_the_folder_is_private(states: States) -> None:
    put(states, 1, ONE, 10, at=1)
    assert stat.S_IMODE(states.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(states.folder.parent.stat().st_mode) == 0o700


def test_half_a_file_is_swept_away_unless_somebody_writes_it(states: States) -> None:
    put(states, 1, ONE, 10, at=1)
    left, growing = states.folder / "7-aa.state.part", states.folder / "8-aa.state.part"
    left.write_bytes(b"half")
    with claim(growing):
        states.make_room(2, ONE, 10)
        assert not left.exists()
        assert growing.exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseUnusable, match="cannot be written"):
        States(tmp_path / "file" / "states").make_room(1, ONE, 1)


@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from([ONE, OTHER]), st.integers(1, 60))))
def test_all_states_never_take_more_than_the_cap(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[int, str, int]]
) -> None:
    states = States(tmp_path_factory.mktemp("states"), most_bytes=100)
    for at, (session, sha256, size) in enumerate(writes):
        put(states, session, sha256, size, at)
        assert states.total_bytes() <= 100
        assert states.find(session, sha256)
