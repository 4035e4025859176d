"""A question attaches the files it names, and nothing else that has an @."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ondevice.chat.attach import MOST_BYTES, MOST_FILES, attachments_of
from ondevice.domain.prompt import Attachment
from ondevice.errors import NotAttached


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("notes.txt", "my notes.txt", "Makefile", "src/main.py", "größe.md"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"text of {name}\n", encoding="utf-8")
    return tmp_path


def names(text: str, folder: Path) -> list[str]:
    return [each.name for each in attachments_of(text, folder)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@notes.txt what is it?", ["notes.txt"]),
        ("what is in @notes.txt?", ["notes.txt"]),
        ("compare (@notes.txt), @src/main.py.", ["notes.txt", "src/main.py"]),
        ('read @"my notes.txt" and @\'notes.txt\'', ["my notes.txt", "notes.txt"]),
        ("@Makefile", ["Makefile"]),
        ("@größe.md", ["größe.md"]),
        ("@notes.txt and @notes.txt again", ["notes.txt"]),
        ("a\n@notes.txt\nb", ["notes.txt"]),
        ("@./notes.txt", ["./notes.txt"]),
    ],
    ids=["first", "before a sign", "several", "quoted", "no ending", "no ascii", "twice", "a line",
         "with a dot"],
)  # fmt: skip
def test_files_are_attached_in_order(text: str, expected: list[str], folder: Path) -> None:
    assert names(text, folder) == expected


def test_the_text_is_that_of_the_file(folder: Path) -> None:
    assert attachments_of("@notes.txt", folder) == (Attachment("notes.txt", "text of notes.txt\n"),)
    (folder / "bom.txt").write_bytes(b"\xef\xbb\xbfa\r\nb")
    assert attachments_of("@bom.txt", folder)[0].text == "a\r\nb"


def test_a_path_from_elsewhere_is_attached(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.setenv("HOME", str(folder))
    assert names(f"@{folder}/notes.txt", elsewhere) == [f"{folder}/notes.txt"]
    assert names("@~/notes.txt", elsewhere) == ["~/notes.txt"]


@pytest.mark.parametrize(
    "text",
    [
        "write to me@example.com and notes@notes.txt",
        "ask @alice about it",
        "@pytest.fixture",
        '@app.route("/notes.txt")',
        "@src",
        "a lone @ and @@",
        "\\@notes.txt and \\@missing.txt",
        "@\0",
    ],
    ids=["an address", "a name", "a decorator", "a call", "a folder's bare name", "alone",
         "escaped", "no name of a file"],
)  # fmt: skip
def test_any_other_at_is_text(text: str, folder: Path) -> None:
    assert attachments_of(text, folder) == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("see @missing.txt.", "^missing.txt cannot be attached: there is no such file$"),
        ("@src/missing", "no such file"),
        ('@"missing one"', "missing one cannot be attached"),
        ("@src/", "it is no file"),
        ("@large.txt", "1.0 MB, and 1.0 MB is the most"),
        ("@binary.txt", "not text in UTF-8"),
        ("@latin.txt", "not text in UTF-8"),
        ("@pipe.txt", "it is no file"),
        ('@"missing\x1b[2J"', r"^missing\[2J cannot"),
    ],
    ids=["missing", "missing in a folder", "missing, quoted", "a folder", "too large", "binary",
         "another encoding", "a pipe", "a name that a terminal would obey"],
)  # fmt: skip
def test_what_cannot_be_attached_is_said_in_one_line(text: str, why: str, folder: Path) -> None:
    (folder / "large.txt").write_bytes(b"x" * (MOST_BYTES + 1))
    (folder / "binary.txt").write_bytes(b"PK\0\0")
    (folder / "latin.txt").write_bytes("Größe".encode("latin-1"))
    os.mkfifo(folder / "pipe.txt")
    with pytest.raises(NotAttached, match=why) as refused:
        attachments_of(text, folder)
    assert "\n" not in refused.value.message
    assert refused.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_may_not_be_read_is_said(folder: Path) -> None:
    (folder / "notes.txt").chmod(0)
    with pytest.raises(NotAttached, match="Permission denied"):
        attachments_of("@notes.txt", folder)


@pytest.mark.parametrize(
    ("count", "size"), [(MOST_FILES + 1, 1), (5, MOST_BYTES)], ids=["files", "bytes"]
)
def test_too_much_at_once_is_refused(count: int, size: int, tmp_path: Path) -> None:
    for number in range(count):
        (tmp_path / f"{number}.txt").write_bytes(b"x" * size)
    text = " ".join(f"@{number}.txt" for number in range(count))
    with pytest.raises(NotAttached, match="too much is attached at once"):
        attachments_of(text, tmp_path)
    assert len(attachments_of(text.rpartition(" ")[0], tmp_path)) == count - 1


@given(text=st.text(st.sampled_from("ab @.'\"(/\\\n~"), max_size=30))
def test_any_text_is_taken_or_refused_by_name(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    with contextlib.suppress(NotAttached):
        assert attachments_of(text, folder) == () or "@" in text
