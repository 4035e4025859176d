"""A place that takes no more is named, and what was stored before stays."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from other_process import OPEN, outcome

from ondevice.storage.database import Database
from ondevice.storage.sessions import Sessions


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user may enter: those of pytest are private."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    (folder / "data").chmod(0o755)
    shutil.rmtree(folder)


class TestRefusals:
    CODE = """
if os.getuid() == 0:
    os.setuid(65534)  # root may write everywhere
try:
    Sessions(Database(path)).create("x")
    say("stored")
except StorageTrouble as error:
    say(type(error).__name__, "|", error.message, "|", error.hint)
"""

    def said(self, path: Path) -> str:
        return subprocess.run(
            [sys.executable, "-c", OPEN + self.CODE, str(path)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    @pytest.mark.parametrize("which", ["folder", "file"])
    def test_what_may_not_be_written_is_named(self, which: str, open_folder: Path) -> None:
        path = open_folder / "data" / "ondevice.db"
        path.parent.mkdir()
        if which == "file":
            Database(path).close()
            path.chmod(0o444)
        path.parent.chmod(0o555)
        said = self.said(path)
        assert said.startswith(f"DatabaseUnusable | {path} cannot be written | ")
        assert "ONDEVICE_HOME" in said

    def test_a_folder_that_cannot_be_made_is_named(self, open_folder: Path) -> None:
        (open_folder / "data").write_text("a file")
        said = self.said(open_folder / "data" / "ondevice.db")
        assert said.startswith("DatabaseUnusable")

    def test_a_full_disk_is_named_and_what_was_stored_stays(
        self, path: Path, open_database, another_process
    ) -> None:
        code = """
import resource
database = Database(path)
sessions = Sessions(database)
session = sessions.create("x")
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
stored = 0
try:
    while stored < 500:
        sessions.add(session.id, "user", "x" * 5000)
        stored += 1
except StorageTrouble as error:
    say(type(error).__name__)
say(stored)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
sessions.add(session.id, "user", "after")
"""
        name, stored = outcome(another_process(code))
        assert name == "DatabaseUnusable"
        database = open_database()
        (session,) = Sessions(database).recent()
        contents = [message.content for message in Sessions(database).messages(session.id)]
        assert contents == ["x" * 5000] * int(stored) + ["after"]
        assert int(stored) > 10
