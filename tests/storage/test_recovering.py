"""A recovery that cannot be finished loses nothing: the next opening makes it anew."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from other_process import heard, outcome
from test_damage import PAGE, all_messages, damage

from ondevice.storage.database import Database
from ondevice.storage.sessions import Sessions

LIMITED = """
import resource, signal
signal.signal(signal.SIGXFSZ, getattr(signal, sys.argv[3]))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    Database(path)
except StorageTrouble as error:
    say(type(error).__name__)
"""


MOUNT = 'mount -t tmpfs -o size=1500k none "$1" && echo mounted && shift && exec "$@"'
SMALL_DISK = ("unshare", "--user", "--mount", "--map-root-user", "sh", "-c", MOUNT, "sh")
ON_A_FULL_DISK = """
damaged = Path(sys.argv[2]).read_bytes()
path.write_bytes(damaged)
path.with_name("ondevice.db.damaged").touch()
filling = path.with_name("filling")
filling.write_bytes(bytes(1_100_000 - len(damaged)))
for _ in range(2):
    try:
        Database(path)
    except StorageTrouble as error:
        say(error.message)
    aside, *_ = sorted(path.parent.glob("*.corrupt-*"))
    if aside.read_bytes() == damaged and not path.exists():
        say("only set aside")
filling.unlink()
say(Database(path).recovered, "here")
"""


def make_damaged(path: Path) -> bytes:
    """A large database with one lost page, as it is marked when somebody met that."""
    database = Database(path)
    sessions = Sessions(database)
    for number in range(4):
        session = sessions.create(f"session {number}")
        for _ in range(50):
            sessions.add(session.id, "user", "words " * 300)
    database.close()
    damaged = damage(path, path.stat().st_size // PAGE // 2)
    path.with_name("ondevice.db.damaged").touch()
    return damaged


@pytest.fixture
def readable(tmp_path: Path) -> int:
    """How many messages can be read of what `make_damaged` makes."""
    path = tmp_path / "roomy" / "ondevice.db"
    make_damaged(path)
    database = Database(path)
    assert 100 < database.recovered == len(all_messages(database)) < 200
    database.close()
    return database.recovered


def assert_only_set_aside(path: Path, damaged: bytes) -> None:
    assert not path.exists()
    names = sorted(entry.name for entry in path.parent.iterdir() if "corrupt" not in entry.name)
    assert names == ["ondevice.db.damaged"]
    aside, *_ = sorted(path.parent.glob("*.corrupt-*"))  # the others are its empty log
    assert aside.read_bytes() == damaged


def assert_recovered(path: Path, damaged: bytes, readable: int) -> None:
    database = Database(path)
    assert database.set_aside is not None
    assert database.set_aside.read_bytes() == damaged
    assert database.recovered == readable == len(all_messages(database))
    database.close()
    again = Database(path)
    assert again.set_aside is None
    assert len(all_messages(again)) == readable
    again.close()


def test_a_full_disk_is_named_and_the_next_opening_gets_all_that_reads(
    path: Path, tmp_path: Path, readable: int, another_process
) -> None:
    source = tmp_path / "source" / "ondevice.db"
    make_damaged(source)
    path.parent.mkdir()
    other = another_process(ON_A_FULL_DISK, source, under=(*SMALL_DISK, str(path.parent)))
    if heard(other) != "mounted":
        pytest.skip("this system lets nobody mount a disk of his own")
    full = f"no space is left for {path}"
    assert outcome(other) == [full, "only set aside", full, "only set aside", f"{readable} here"]


@pytest.mark.parametrize("limit", [60_000, 200_000], ids=str)
def test_a_write_that_fails_is_named_and_the_next_opening_gets_all_that_reads(
    limit: int, path: Path, readable: int, another_process
) -> None:
    damaged = make_damaged(path)
    assert outcome(another_process(LIMITED, limit, "SIG_IGN")) == ["DatabaseUnusable"]
    assert_only_set_aside(path, damaged)
    assert_recovered(path, damaged, readable)


def test_a_kill_in_the_middle_is_made_good_by_the_next_opening(
    path: Path, readable: int, another_process
) -> None:
    damaged = make_damaged(path)
    other = another_process(LIMITED, 200_000, "SIG_DFL")
    other.wait(60)
    assert other.returncode == -signal.SIGXFSZ
    assert not path.exists()
    assert_recovered(path, damaged, readable)


def test_a_log_that_a_kill_left_behind_follows_its_database(path: Path, tmp_path: Path) -> None:
    """It is the newest of what was said, and would be replayed into the new database."""
    source = tmp_path / "source" / "ondevice.db"
    damaged = make_damaged(source)
    source.with_name("ondevice.db.damaged").unlink()
    writer = Database(source)
    Sessions(writer).create("only in the log")
    aside = path.with_name("ondevice.db.corrupt-1")
    path.parent.mkdir()
    aside.write_bytes(damaged)
    path.with_name("ondevice.db-wal").write_bytes(Path(f"{source}-wal").read_bytes())
    path.with_name("ondevice.db.damaged").write_text(aside.name)
    writer.close()
    database = Database(path)
    assert "only in the log" in [session.title for session in Sessions(database).recent()]
    assert not path.with_name("ondevice.db.damaged").exists()
    database.close()


def test_a_row_that_the_tables_refuse_is_passed_over(path: Path) -> None:
    database = Database(path)
    session = Sessions(database).create("x")
    for word in ("before", "refused", "after"):
        Sessions(database).add(session.id, "user", word)
    database.close()
    content = path.read_bytes()
    assert content.count(b"userrefused") == 1
    path.write_bytes(content.replace(b"userrefused", b"usurrefused"))
    path.with_name("ondevice.db.damaged").touch()
    database = Database(path)
    assert database.set_aside is not None
    assert [message.content for message in all_messages(database)] == ["before", "after"]
    database.close()
