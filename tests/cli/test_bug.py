"""A bug of ours is one line, and its details are in a private file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ondevice.cli import main as command_line

WRITTEN = "".join(["what a ", "person wrote"])
"""Not a literal, as source lines are in the details."""


def test_a_bug_is_one_line_and_its_traceback_a_private_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(**_: object) -> int:
        try:
            raise KeyError(WRITTEN)
        except KeyError as error:
            raise ZeroDivisionError(f"of \x1b[31m{WRITTEN}") from error

    monkeypatch.setenv("ONDEVICE_HOME", str(tmp_path))
    monkeypatch.setattr(command_line.ondevice, "main", broken)
    assert command_line._outcome() == 1
    told = capsys.readouterr().err
    assert told.startswith(
        "ondevice: a bug of ondevice ended it: ZeroDivisionError in test_bug.py:"
    )
    assert len(told.splitlines()) == 2
    assert WRITTEN not in told
    kept = tmp_path / "cache" / "bug.txt"
    assert str(kept) in told
    assert "ZeroDivisionError" in kept.read_text()
    assert "KeyError" in kept.read_text()
    assert WRITTEN not in kept.read_text()
    if os.name != "nt":
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_a_bug_is_told_where_its_details_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(**_: object) -> int:
        raise ZeroDivisionError("x")

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ONDEVICE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(command_line.ondevice, "main", broken)
    assert command_line._outcome() == 1
    assert "ZeroDivisionError in test_bug.py" in capsys.readouterr().err
