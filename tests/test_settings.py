"""A settings file is used as it stands or refused with what to mend."""

from __future__ import annotations

from pathlib import Path

import pytest

from ondevice import settings
from ondevice.errors import SettingsInvalid
from ondevice.settings import Settings


def refusal(path: Path) -> SettingsInvalid:
    with pytest.raises(SettingsInvalid) as caught:
        settings.load(path)
    assert str(path) in caught.value.message
    return caught.value


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


def test_without_a_file_there_are_defaults(path: Path) -> None:
    assert settings.load(path) == Settings()
    assert not path.exists()


def test_an_empty_file_changes_nothing(path: Path) -> None:
    path.write_text("# nothing yet\n")
    assert settings.load(path) == Settings()


def test_every_setting_can_be_set(path: Path) -> None:
    path.write_text(
        'model = "some/model.gguf"\ncontext = 2048\nthreads = 2\n'
        'baseline = "gpt-4-turbo"\nmax_tokens = 64\n'
    )
    assert settings.load(path) == Settings("some/model.gguf", 2048, 2, "gpt-4-turbo", 64)


def test_a_byte_order_mark_is_no_part_of_the_first_setting(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbfthreads = 3\n")
    assert settings.load(path).threads == 3


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("thread", "Did you mean threads?"),
        ("max_token", "Did you mean max_tokens?"),
        ("zzz", "There are: model, context, threads, baseline, max_tokens, download_bytes_per_s."),
    ],
)
def test_an_unknown_setting_is_answered_with_the_nearest(path: Path, name: str, hint: str) -> None:
    path.write_text(f"{name} = 1\n")
    error = refusal(path)
    assert name in error.message
    assert error.hint == hint


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("model = 3", "model must be a text in quotes"),
        ("baseline = true", "baseline must be a text in quotes"),
        ('threads = "2"', "threads must be a whole number from 0 to 512"),
        ("threads = true", "threads must be a whole number from 0 to 512"),
        ("threads = 2.0", "threads must be a whole number from 0 to 512"),
        ("threads = 513", "threads must be a whole number from 0 to 512"),
        ("context = -1", "context must be a whole number from 0"),
        (f"context = {10**30}", "context must be a whole number from 0"),
        ("context = [1]", "context must be a whole number from 0"),
        ("max_tokens = 0", "max_tokens must be a whole number from 1"),
        ("[threads]\nmost = 2", "threads must be a whole number"),
    ],
    ids=lambda value: value[:24],
)
def test_a_value_that_cannot_be_used_is_named(path: Path, line: str, reason: str) -> None:
    path.write_text(line + "\n")
    assert reason in refusal(path).message


@pytest.mark.parametrize(
    "content",
    ["threads =", "threads = 2\nthreads = 3", "[" * 5000, "x = " + "[" * 5000, "x = " + "9" * 9000],
    ids=["half", "twice", "brackets", "nested", "digits"],
)
def test_what_is_not_toml_is_refused_with_the_place(path: Path, content: str) -> None:
    path.write_text(content)
    assert "is not TOML" in refusal(path).message


def test_bytes_that_are_no_text_are_refused(path: Path) -> None:
    path.write_bytes(b'model = "\xff\xfe"')
    assert "is not UTF-8" in refusal(path).message


def test_a_folder_in_its_place_is_refused(path: Path) -> None:
    path.mkdir()
    assert "cannot be read: Is a directory" in refusal(path).message
