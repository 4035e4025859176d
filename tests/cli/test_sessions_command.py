"""`sessions`: what is kept is listed, found, shown, renamed, deleted, exported and imported."""

from __future__ import annotations

import json
import stat
from contextlib import closing
from pathlib import Path

import pexpect
import pytest
from command import PATIENCE_S, SCRIPT, Cli
from line_chat import EchoChat

from ondevice.cli.exits import Exit
from ondevice.domain.session import SessionTree
from ondevice.storage.database import Database
from ondevice.storage.sessions import Sessions

ESCAPE = "\x1b[31mred\x1b]52;c;aGk=\x07\x9b2J"


@pytest.fixture
def database_path(home: Path) -> Path:
    return home / "data" / "ondevice.db"


@pytest.fixture
def kept(database_path: Path) -> Path:
    """Two conversations; the first has two paths."""
    with closing(Database(database_path)) as database:
        sessions = Sessions(database)
        rain = sessions.create("Rain in Lisbon", system_prompt="be brief")
        question = sessions.add(rain.id, "user", "Will it rain?")
        answer = sessions.add(rain.id, "assistant", "", "streaming", "small")
        sessions.finish(answer, f"Perhaps. {ESCAPE}", "complete", "stop", None)
        sessions.move_head(rain.id, question.id)
        sessions.add(rain.id, "assistant", "Certainly.", model="small")
        eggs = sessions.create("Eggs")
        sessions.add(eggs.id, "user", "How long?")
    return database_path


def trees(path: Path) -> list[SessionTree]:
    with closing(Database(path)) as database:
        sessions = Sessions(database)
        return [sessions.tree(session.id) for session in sessions.recent()]


class TestWithNothingKept:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["sessions"], "`ondevice` begins one"),
            (["sessions", "search", "rain"], "Nothing was found"),
            (["sessions", "delete", "--all"], "There is nothing to delete"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_it_says_what_to_do_and_makes_no_file(
        self, arguments: list[str], said: str, cli: Cli, home: Path
    ) -> None:
        outcome = cli(*arguments)
        assert (outcome.code, outcome.out) == (0, "")
        assert said in outcome.err
        assert len(outcome.err.splitlines()) == 1
        assert not home.exists()

    @pytest.mark.parametrize(
        ("arguments", "document"),
        [
            (["sessions", "--json"], []),
            (["sessions", "search", "rain", "--json"], []),
            (["sessions", "delete", "--all", "--json"], {"deleted": [], "set_aside": []}),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_it_is_an_empty_document(
        self, arguments: list[str], document: object, cli: Cli
    ) -> None:
        outcome = cli(*arguments)
        assert (outcome.code, outcome.err) == (0, "")
        assert json.loads(outcome.out) == document


@pytest.mark.parametrize(
    "arguments",
    ["show 99", "rename 99 x", "delete 99 -y", "export 99", "show 99 --json"],
)
@pytest.mark.parametrize("number", ["99", "9" * 20], ids=["99", "more than 64 bits"])
@pytest.mark.parametrize("there", [True, False], ids=["others", "nothing"])
def test_a_number_that_is_not_there_is_refused(
    arguments: str, number: str, there: bool, cli: Cli, request: pytest.FixtureRequest
) -> None:
    if there:
        request.getfixturevalue("kept")
    outcome = cli("sessions", *arguments.replace("99", number).split())
    assert (outcome.code, outcome.out) == (Exit.STORAGE, "")
    assert outcome.err.startswith(f"ondevice: there is no session {number}\n  ")
    assert len(outcome.err.splitlines()) == 2


class TestList:
    def test_shows_the_one_used_last_first(self, cli: Cli, kept: Path) -> None:
        outcome = cli("sessions")
        assert (outcome.code, outcome.err) == (0, "")
        head, *lines = outcome.out.splitlines()
        assert head.split() == ["ID", "BEGUN", "MESSAGES", "TITLE"]
        assert [line.split()[0] for line in lines] == ["2", "1"]
        assert lines[1].endswith("3  Rain in Lisbon")

    @pytest.mark.parametrize("command", ["sessions", "sessions list"])
    def test_as_data_holds_the_same(self, command: str, cli: Cli, kept: Path) -> None:
        rows = json.loads(cli(*command.split(), "--json").out)
        assert [(row["id"], row["title"], row["messages"]) for row in rows] == [
            (2, "Eggs", 1),
            (1, "Rain in Lisbon", 3),
        ]


class TestSearch:
    def test_finds_words_with_where_they_are(self, cli: Cli, kept: Path) -> None:
        outcome = cli("sessions", "search", "perhaps")
        assert (outcome.code, outcome.err) == (0, "")
        assert outcome.out.splitlines() == [
            "    1  Rain in Lisbon · message 2",
            "       Perhaps. [31mred]52;c;aGk=2J",
        ]

    def test_as_data_says_session_message_and_excerpt(self, cli: Cli, kept: Path) -> None:
        rows = json.loads(cli("sessions", "search", "rain", "--json").out)
        assert [(row["session"], row["message"], row["excerpt"]) for row in rows] == [
            (1, None, "Rain in Lisbon"),
            (1, 1, "Will it rain?"),
        ]

    def test_needs_a_word(self, cli: Cli) -> None:
        outcome = cli("sessions", "search", " ")
        assert (outcome.code, outcome.out) == (Exit.USAGE, "")
        assert "there is no text to look for" in outcome.err


class TestShow:
    def test_prints_the_path_that_is_shown(self, cli: Cli, kept: Path) -> None:
        outcome = cli("sessions", "show", "1")
        assert (outcome.code, outcome.err) == (0, "")
        assert outcome.out == ("Rain in Lisbon\n\n1 You\nWill it rain?\n\n3 small\nCertainly.\n")

    def test_prints_where_every_path_ends(self, cli: Cli, kept: Path) -> None:
        outcome = cli("sessions", "show", "1", "--paths")
        assert outcome.out.splitlines()[2:] == [
            "3 small · shown",
            "Certainly.",
            "",
            "2 small",
            "Perhaps. [31mred]52;c;aGk=2J",
        ]

    def test_as_data_has_every_field(self, cli: Cli, kept: Path) -> None:
        document = json.loads(cli("sessions", "show", "1", "--json").out)
        assert (document["title"], document["system_prompt"]) == ("Rain in Lisbon", "be brief")
        assert [message["content"] for message in document["messages"]] == [
            "Will it rain?",
            "Certainly.",
        ]
        assert document["head"] == document["messages"][-1]["id"] == 3

    def test_on_a_terminal_shows_nothing_it_would_obey(
        self, environment: dict[str, str], cli: Cli, kept: Path
    ) -> None:
        with closing(Database(kept)) as database:
            Sessions(database).move_head(1, 2)
        for command in ("show 1", "export 1", "export 1 --format json"):
            shown = pexpect.run(f"{SCRIPT} sessions {command}", env=environment).decode()
            assert "Perhaps. " in shown
            assert not set("\x1b\x07\x9b") & set(shown)
        for command in ("show 1", "export 1"):
            assert ESCAPE in cli("sessions", *command.split()).out  # data stays as it is


def test_a_message_has_one_number_everywhere(cli: Cli, kept: Path, echo_chat: EchoChat) -> None:
    """In the database it is the fourth."""
    assert cli("sessions", "search", "long").out.startswith("    2  Eggs · message 1\n")
    assert json.loads(cli("sessions", "search", "long", "--json").out)[0]["message"] == 1
    assert cli("sessions", "show", "2").out == "Eggs\n\n1 You\nHow long?\n"
    shown = json.loads(cli("sessions", "show", "2", "--json").out)
    assert shown["head"] == shown["messages"][0]["id"] == 1
    exported = json.loads(cli("sessions", "export", "2", "--format", "json").out)
    assert exported["head"] == exported["messages"][0]["id"] == 1
    branched = echo_chat.piped("/branch", "/branch 1", session=2).err
    assert "1 You: How long? · shown" in branched
    assert "It goes on after message 1, by You: How long?" in branched


class TestRename:
    def test_gives_another_title(self, cli: Cli, kept: Path) -> None:
        outcome = cli("sessions", "rename", "2", "Eggs, boiled")
        assert (outcome.code, outcome.out) == (0, "")
        assert [tree.session.title for tree in trees(kept)] == ["Eggs, boiled", "Rain in Lisbon"]

    def test_as_data_says_what_it_is_called(self, cli: Cli, kept: Path) -> None:
        document = json.loads(cli("sessions", "rename", "2", "Soup", "--json").out)
        assert (document["id"], document["title"]) == (2, "Soup")

    def test_refuses_an_empty_one(self, cli: Cli, kept: Path) -> None:
        outcome = cli("sessions", "rename", "2", " ")
        assert outcome.code == Exit.USAGE
        assert "the title is empty" in outcome.err


class TestDelete:
    def test_says_what_goes_and_what_stays_and_asks(
        self, environment: dict[str, str], kept: Path
    ) -> None:
        for answer, left in (("n", 2), ("y", 1)):
            window = pexpect.spawn(
                str(SCRIPT), ["sessions", "delete", "1"], env=environment, timeout=PATIENCE_S,
                dimensions=(40, 200),
            )  # fmt: skip
            window.expect("Rain in Lisbon")
            window.expect("stay in the accounts, without any text or title")
            window.expect("Delete 1 conversation for good")
            window.sendline(answer)
            window.expect(pexpect.EOF)
            window.close()
            assert window.exitstatus == (0 if answer == "y" else Exit.CANCELLED)
            assert len(trees(kept)) == left

    def test_is_not_done_without_being_asked_for(self, cli: Cli, kept: Path) -> None:
        outcome = cli("sessions", "delete", "--all")
        assert outcome.code == Exit.USAGE
        assert "nothing is deleted without being asked for" in outcome.err
        assert len(trees(kept)) == 2

    @pytest.mark.parametrize("which", ["1", "--all"])
    def test_takes_what_a_model_has_read_along(self, which: str, cli: Cli, kept: Path) -> None:
        states = kept.parent / "states"
        states.mkdir()
        for name in ("1-aa.state", "1-bb.state", "1-bb.state.part", "2-aa.state"):
            (states / name).write_text("Lisbon")
        assert cli("sessions", "delete", which, "--yes").code == 0
        left = [] if which == "--all" else ["2-aa.state"]
        assert [each.name for each in states.iterdir()] == left

    @pytest.mark.parametrize("which", ["2", "--all"])
    def test_takes_the_text_that_was_copied_last_along(
        self, which: str, cli: Cli, kept: Path
    ) -> None:
        """It may be of any session."""
        for name in ("copied.txt", "copied.txtk4u_"):  # the latter by a kill
            kept.with_name(name).write_text("Lisbon")
        assert cli("sessions", "delete", which, "--yes").code == 0
        assert [each.name for each in kept.parent.iterdir()] == [kept.name]

    def test_of_all_takes_a_copied_text_that_outlived_its_session(
        self, cli: Cli, kept: Path
    ) -> None:
        cli("sessions", "delete", "--all", "--yes")
        copied = kept.with_name("copied.txt")
        copied.write_text("Lisbon")
        assert cli("sessions", "delete", "--all", "--yes").code == 0
        assert not copied.exists()

    def test_leaves_no_byte(self, cli: Cli, kept: Path) -> None:
        outcome = cli("sessions", "delete", "1", "1", "--yes", "--json")
        assert (outcome.code, outcome.err) == (0, "")
        assert json.loads(outcome.out) == {"deleted": [1], "set_aside": []}
        for file in kept.parent.iterdir():
            assert b"Lisbon" not in file.read_bytes()
            assert b"Perhaps" not in file.read_bytes()
        assert [tree.session.title for tree in trees(kept)] == ["Eggs"]

    def test_of_all_takes_what_was_set_aside_along(self, cli: Cli, kept: Path) -> None:
        aside = kept.with_name("ondevice.db.corrupt-1")
        aside.write_text("Lisbon")
        one = cli("sessions", "delete", "1", "--yes")
        assert "may hold parts of them, and stays" in one.err
        assert aside.exists()
        everything = cli("sessions", "delete", "--all", "--yes")
        assert (everything.code, everything.out) == (0, "")
        assert "is deleted as well" in everything.err
        assert not aside.exists()
        assert trees(kept) == []

    def test_as_data_names_what_was_set_aside_and_stays(self, cli: Cli, kept: Path) -> None:
        aside = kept.with_name("ondevice.db.corrupt-1")
        aside.write_text("Lisbon")
        one = cli("sessions", "delete", "1", "--json", "--yes")
        assert json.loads(one.out) == {"deleted": [1], "set_aside": [str(aside)]}
        everything = cli("sessions", "delete", "--all", "--json", "--yes")
        assert json.loads(everything.out) == {"deleted": [2], "set_aside": []}

    @pytest.mark.parametrize("arguments", [[], ["1", "--all"]], ids=["neither", "both"])
    def test_needs_to_know_which(self, arguments: list[str], cli: Cli, kept: Path) -> None:
        outcome = cli("sessions", "delete", *arguments, "-y")
        assert outcome.code == Exit.USAGE
        assert "say which conversations" in outcome.err
        assert len(trees(kept)) == 2


class TestTransfer:
    def test_from_one_machine_to_another_keeps_everything(
        self, cli: Cli, kept: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "rain.json"
        outcome = cli("sessions", "export", "1", "-o", file)
        assert (outcome.code, outcome.out) == (0, "")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        there = tmp_path / "there"
        imported = cli("sessions", "import", file, env={"ONDEVICE_HOME": str(there)})
        assert (imported.code, imported.out) == (0, "1\n")
        (tree,) = trees(there / "data" / "ondevice.db")
        original = trees(kept)[1]
        assert tree.session.title == original.session.title
        assert [m.content for m in tree.messages] == [m.content for m in original.messages]
        assert tree.head_id == original.head_id

    def test_goes_through_a_pipe(self, cli: Cli, kept: Path) -> None:
        document = cli("sessions", "export", "1", "--format", "json").out
        assert json.loads(document)["format"] == "ondevice-session"
        outcome = cli("sessions", "import", "-", piped=document.encode())
        assert (outcome.code, outcome.out) == (0, "3\n")
        assert trees(kept)[0].session.title == "Rain in Lisbon"
        again = json.loads(cli("sessions", "import", "-", "--json", piped=document.encode()).out)
        assert (again["id"], again["title"]) == (4, "Rain in Lisbon")

    def test_is_markdown_if_nothing_else_is_said(self, cli: Cli, kept: Path) -> None:
        outcome = cli("sessions", "export", "1", env={"PYTHONIOENCODING": "ascii"})
        assert outcome.out.startswith("# Rain in Lisbon\n")
        assert "## small\n\nCertainly.\n" in outcome.out

    def test_replaces_no_file_unasked(self, cli: Cli, kept: Path, tmp_path: Path) -> None:
        file = tmp_path / "rain.md"
        file.write_text("mine")
        outcome = cli("sessions", "export", "1", "-o", file)
        assert outcome.code == Exit.USAGE
        assert "is there already" in outcome.err
        assert file.read_text() == "mine"
        assert cli("sessions", "export", "1", "-o", file, "--force").code == 0
        assert file.read_text().startswith("# Rain")
        assert [each.name for each in tmp_path.glob("rain*")] == ["rain.md"]

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"# Markdown", "no session that ondevice exported"),
            (b"{", "no session that ondevice exported"),
            (b'{"format": "ondevice-session", "version": 9}', "of format version 9"),
            (None, "cannot be read"),
        ],
        ids=["markdown", "cut", "later", "missing"],
    )
    def test_of_another_file_is_refused(
        self, content: bytes | None, said: str, cli: Cli, home: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "other.json"
        if content is not None:
            file.write_bytes(content)
        outcome = cli("sessions", "import", file)
        assert (outcome.code, outcome.out) == (Exit.USAGE, "")
        assert said in outcome.err
        assert len(outcome.err.splitlines()) == 2
        assert not home.exists()

    def test_to_a_place_that_cannot_be_is_refused(self, cli: Cli, kept: Path) -> None:
        outcome = cli("sessions", "export", "1", "-o", "/proc/nowhere/rain.md")
        assert outcome.code == Exit.USAGE
        assert "cannot be written" in outcome.err


def test_a_database_that_is_no_database_is_said_to_be_set_aside(
    cli: Cli, database_path: Path
) -> None:
    database_path.parent.mkdir(parents=True)
    database_path.write_bytes(b"no database " * 1000)
    outcome = cli("sessions")
    assert (outcome.code, outcome.out) == (0, "")
    assert "damaged, set aside" in outcome.err


def test_a_recovery_that_a_kill_ended_is_made_anew(kept: Path, cli: Cli) -> None:
    """The database has no place of its own then, but there are conversations."""
    aside = kept.rename(kept.with_name("ondevice.db.corrupt-1"))
    kept.with_name("ondevice.db.damaged").write_text(aside.name)
    outcome = cli("sessions", "--json")
    assert [each["title"] for each in json.loads(outcome.out)] == ["Eggs", "Rain in Lisbon"]
    assert "damaged, set aside" in outcome.err
