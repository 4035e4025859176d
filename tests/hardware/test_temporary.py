"""Temporary files that a killed process does not leave behind."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ondevice.errors import UsageTrouble
from ondevice.hardware import system
from ondevice.hardware.temporary import temporary_file

HOLD = """
import sys
from pathlib import Path
from ondevice.hardware.temporary import temporary_file
with temporary_file(Path(sys.argv[1])) as path:
    path.write_bytes(b"x" * 1000)
    print(path, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["linux", "elsewhere"])
def platform(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "elsewhere":
        monkeypatch.setattr(system, "is_linux", lambda: False)
    elif not system.is_linux():
        pytest.skip("of Linux")
    return str(request.param)


def test_a_temporary_file_is_private_and_gone_at_the_end(platform: str, tmp_path: Path) -> None:
    with temporary_file(tmp_path / "made" / "for it") as path:
        path.write_bytes(b"secret")
        with path.open("r+b") as again:
            again.seek(3)
            again.write(b"RET")
        assert path.read_bytes() == b"secRET"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()
    assert list((tmp_path / "made" / "for it").iterdir()) == []
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o700


def test_an_error_inside_removes_it_too(platform: str, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), temporary_file(tmp_path):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_an_ordinary_error(platform: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UsageTrouble, match="nothing temporary can be made"),
        temporary_file(tmp_path / "file" / "below"),
    ):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next process sweeps")
def test_another_process_opens_it_and_a_kill_leaves_nothing(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    path = Path(holder.stdout.readline().decode().strip())
    assert len(path.read_bytes()) == 1000
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert list(tmp_path.iterdir()) == []
