"""What is remembered of downloads outlives kills, other processes and damage."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ondevice.domain.download import RemoteFile
from ondevice.domain.model import FileSpec
from ondevice.errors import UsageTrouble
from ondevice.hub.records import Records

COMMIT = "c" * 40
FILE = FileSpec("llama.cpp", "Q4_0", "owner/name", "m.gguf")
REMOTE = RemoteFile("owner/name", "m.gguf", COMMIT, 7, "a" * 64)
TERMS = "https://example.org/terms"


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path / "data" / "downloads.json")


class TestTerms:
    def test_are_not_accepted_before_they_are(self, records: Records) -> None:
        assert records.accepted(TERMS) is None
        assert not records.path.parent.exists()

    def test_keep_the_day_they_were_first_accepted(self, records: Records) -> None:
        records.accept(TERMS)
        first = records.accepted(TERMS)
        assert first is not None
        assert first.startswith("20")
        records.accept(TERMS)
        assert Records(records.path).accepted(TERMS) == first

    def test_are_kept_privately(self, records: Records) -> None:
        records.accept(TERMS)
        assert records.path.stat().st_mode & 0o777 == 0o600
        assert records.path.parent.stat().st_mode & 0o777 == 0o700


class TestAPin:
    def test_is_what_was_fetched(self, records: Records) -> None:
        assert records.state(FILE) == "unpinned"
        records.pin(FILE, (REMOTE,))
        assert records.pinned(FILE) == (REMOTE,)
        assert records.state(FILE) == "pinned locally"
        assert records.fetched_from("owner/name") == ["m.gguf"]
        assert records.fetched_from("owner/nam") == []

    def test_keeps_the_licence_of_that_day(self, records: Records) -> None:
        assert records.licence(FILE) is None
        records.begin(FILE, (REMOTE,))
        records.pin(FILE, (REMOTE,), "mit")
        assert records.licence(FILE) == "mit"

    def test_of_before_licences_were_kept_holds(self, records: Records) -> None:
        records.pin(FILE, (REMOTE,), "mit")
        old = records.path.read_text().replace(',\n      "licence": "mit"', "")
        assert "licence" not in old
        records.path.write_text(old)
        assert (records.pinned(FILE), records.licence(FILE)) == ((REMOTE,), None)

    def test_of_the_catalogue_goes_before(self, records: Records) -> None:
        records.pin(FILE, (REMOTE,))
        assert records.state(replace(FILE, sha256="a" * 64)) == "pinned"
        assert records.pinned(replace(FILE, sha256="b" * 64)) is None
        assert records.pinned(replace(FILE, revision="d" * 40)) is None

    def test_follows_what_was_begun(self, records: Records) -> None:
        records.begin(FILE, (REMOTE,))
        assert (records.begun(FILE), records.pinned(FILE)) == ((REMOTE,), None)
        assert records.state(FILE) == "unpinned"
        assert records.fetched_from("owner/name") == ["m.gguf"]
        records.pin(FILE, (REMOTE,))
        assert (records.begun(FILE), records.pinned(FILE)) == (None, (REMOTE,))

    def test_can_be_forgotten(self, records: Records) -> None:
        records.pin(FILE, (REMOTE,))
        records.unpin(FILE)
        assert records.pinned(FILE) is None

    @pytest.mark.parametrize(
        ("key", "value"),
        [("hash", "../../x"), ("path", "../x.gguf"), ("path", "/etc/passwd.txt")],
    )
    def test_that_somebody_changed_to_a_hostile_name_is_none(
        self, key: str, value: str, records: Records
    ) -> None:
        records.pin(FILE, (REMOTE,))
        content = json.loads(records.path.read_text())
        content["pinned"]["owner/name/m.gguf"]["files"][0][key] = value
        records.path.write_text(json.dumps(content))
        assert records.pinned(FILE) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b'{"accepted": 5}', b"[" * 100_000],
    ids=["empty", "half", "another form", "no text", "another type", "deep"],
)
def test_a_damaged_file_is_set_aside_and_begun_anew(content: bytes, records: Records) -> None:
    records.path.parent.mkdir()
    records.path.write_bytes(content)
    assert records.accepted(TERMS) is None
    records.accept(TERMS)
    assert records.accepted(TERMS) is not None
    (aside,) = records.path.parent.glob("downloads.json.corrupt-*")
    assert aside.read_bytes() == content


def test_many_processes_lose_nothing_of_each_other(records: Records) -> None:
    code = """
import sys
from pathlib import Path
from ondevice.hub.records import Records
for number in range(10):
    Records(Path(sys.argv[1])).accept(f"https://example.org/{sys.argv[2]}/{number}")
"""
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(records.path), str(each)])
        for each in range(4)
    ]
    assert [process.wait(60) for process in running] == [0] * 4
    assert len(json.loads(records.path.read_text())["accepted"]) == 40
    assert not list(records.path.parent.glob("*.new"))


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageTrouble, match="cannot be written") as raised:
        Records(tmp_path / "file" / "downloads.json").accept(TERMS)
    assert "ONDEVICE_HOME" in raised.value.hint
