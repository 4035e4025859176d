"""Where things are kept depends on the environment only, and asking makes nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from platformdirs.api import PlatformDirsABC
from platformdirs.macos import MacOS
from platformdirs.unix import Unix

from ondevice.errors import UsageTrouble
from ondevice.paths import user_paths

DOCUMENTED = Path(__file__).resolve().parent.parent / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def clear(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("CONFIG_HOME", "DATA_HOME", "CACHE_HOME", "CONFIG_DIRS", "DATA_DIRS")
    for name in ("ONDEVICE_HOME", *(f"XDG_{name}" for name in names)):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", ["plain", "with space", "ünïcode 文"])
def test_one_variable_moves_all_three_folders(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / name
    monkeypatch.setenv("ONDEVICE_HOME", str(home))
    paths = user_paths()
    assert (paths.config, paths.data, paths.cache) == (
        home / "config",
        home / "data",
        home / "cache",
    )
    assert paths.settings == home / "config" / "settings.toml"
    assert paths.user_catalogue == home / "config" / "models.toml"
    assert paths.database == home / "data" / "ondevice.db"
    assert not home.exists()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("~/x", "home/x"),
        ("x", "here/x"),
        ("~nobody-is-called-this/x", "here/~nobody-is-called-this/x"),
    ],
    ids=["tilde", "relative", "unknown-user"],
)
def test_the_variable_is_made_absolute(
    given: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ONDEVICE_HOME", given)
    assert user_paths().config == tmp_path / expected / "config"


@pytest.mark.skipif(sys.platform != "linux", reason="XDG folders are those of Linux")
def test_without_it_the_xdg_folders_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("ONDEVICE_HOME", "")
    paths = user_paths()
    assert paths.config == tmp_path / ".config" / "ondevice"
    assert paths.data == tmp_path / ".local" / "share" / "ondevice"
    assert paths.cache == tmp_path / "elsewhere" / "ondevice"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("column", "system"), [(1, Unix), (2, MacOS), (4, None)], ids=["Linux", "macOS", "one's own"]
)
def test_the_folders_are_those_of_the_documentation(
    column: int,
    system: type[PlatformDirsABC] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    if system is None:
        monkeypatch.setenv("ONDEVICE_HOME", str(tmp_path))
    else:
        monkeypatch.setattr("platformdirs.PlatformDirs", system)
    _, _, section = DOCUMENTED.read_text(encoding="utf-8").partition("## Where things are\n")
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| ")][1:4]
    said = [row[column].split("`")[1].removeprefix("~/") for row in rows]
    paths = user_paths()
    assert [paths.config, paths.data, paths.cache] == [tmp_path / each for each in said]


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python leaves `~` as it is for a number without an account, as containers use them."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    with pytest.raises(UsageTrouble, match="no home folder") as caught:
        user_paths()
    assert "ONDEVICE_HOME" in caught.value.hint


def test_asking_with_the_variable_set_does_not_load_platformdirs() -> None:
    code = "import sys, ondevice.paths as p; p.user_paths(); print('platformdirs' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={"ONDEVICE_HOME": "/nowhere"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == "False"
