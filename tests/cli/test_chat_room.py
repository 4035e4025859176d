"""Room in the context of a line-mode chat: offered, made as is wanted, and nothing is lost."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from command import Cli
from line_chat import EchoChat, script, stored

from ondevice.chat import Chat
from ondevice.chat.room import Offer
from ondevice.cli.chat.desk import Desk
from ondevice.cli.chat.interrupts import Interrupts
from ondevice.cli.chat.lines import Lines
from ondevice.cli.chat.room import make_room
from ondevice.cli.exits import Exit
from ondevice.domain.generation import LoadOptions, Sampling
from ondevice.domain.model import ModelFile
from ondevice.errors import ModelLoadFailed
from ondevice.settings import Settings

STORY = "Once there was a river that ran to the sea. "
LEFT_OUT = "(Left out here: the first turn of this conversation.)"


@pytest.fixture
def asked(tmp_path: Path) -> list[str]:
    """Two questions: 3,000 words of a file, and none."""
    (tmp_path / "big.txt").write_text("word " * 3000)
    return [f"What is in @{tmp_path}/big.txt?", "And then?"]


def test_what_would_make_room_is_listed_with_what_it_frees(
    echo_chat: EchoChat, asked: list[str]
) -> None:
    outcome = echo_chat.piped(*asked, "/room", pieces=["yes"])
    assert "/room drop: Leave out the oldest 1 turn: 3,003 tokens. They stay stored." in outcome.err
    assert "/room summarise: Sum up the oldest 1 turn: about 2,747 tokens." in outcome.err
    assert outcome.code == 0


def test_turns_are_left_out_with_a_line_and_stay_stored(
    echo_chat: EchoChat, asked: list[str], home: Path
) -> None:
    outcome = echo_chat.piped(*asked, "/room drop", "/context", pieces=["yes"])
    assert LEFT_OUT in outcome.err
    assert "attached 0" in outcome.err
    assert [row[1] for row in stored(home)] == [asked[0], "yes", asked[1], "yes", LEFT_OUT]


def test_a_question_that_had_no_room_is_asked_when_there_is_some(
    echo_chat: EchoChat, asked: list[str], tmp_path: Path, home: Path
) -> None:
    (tmp_path / "more.txt").write_text("word " * 1500)
    more = f"And in @{tmp_path}/more.txt?"
    outcome = echo_chat.piped(*asked, more, "/room drop", "And now?", pieces=["yes"])
    assert outcome.err.count("Error: the prompt has ") == 1
    assert "The question that had no room is asked again." in outcome.err
    assert outcome.out == "yes\nyes\n\nyes\nyes\n"
    assert outcome.code == Exit.ENGINE  # of the first failure
    assert [row[1] for row in stored(home)][-5:] == [LEFT_OUT, more, "yes", "And now?", "yes"]


@pytest.mark.parametrize(
    ("use", "summary"), [("/room use", "It was so."), ("/room use It was not.", "It was not.")]
)
def test_a_summary_is_told_before_it_is_used_as_it_is_or_otherwise(
    use: str, summary: str, echo_chat: EchoChat, asked: list[str], home: Path
) -> None:
    outcome = echo_chat.piped(*asked, "/room summarise", use, pieces=["It ", "was ", "so."])
    assert "Summary: It was so." in outcome.err
    assert stored(home)[-1][1] == (f"(In short, the first turn of this conversation:)\n\n{summary}")
    assert outcome.code == 0


def test_a_summary_that_is_not_used_changes_nothing(
    echo_chat: EchoChat, asked: list[str], home: Path
) -> None:
    outcome = echo_chat.piped(*asked, "/room summarise", "Go on.", "/room use", pieces=["yes"])
    assert "Error: there is no summary" in outcome.err
    assert [row[0] for row in stored(home)] == ["user", "assistant"] * 3


def test_a_summary_has_room_for_what_the_model_thinks_before(
    echo_chat: EchoChat, asked: list[str]
) -> None:
    thinking = ["<think>\n", *["hm "] * 400, "\n</think>\n\n", "It was so."]
    outcome = echo_chat.piped(*asked, "/room summarise", pieces=thinking)
    assert "Summary: It was so." in outcome.err


def test_a_summary_that_is_empty_is_said_to_be_none(
    echo_chat: EchoChat, asked: list[str], home: Path
) -> None:
    endless = ["<think>\n", *["hm "] * 2000]
    outcome = echo_chat.piped(*asked, "/room summarise", "/room use", pieces=endless)
    assert "Error: no summary came of it" in outcome.err
    assert "Summary:" not in outcome.err
    assert "Error: there is no summary" in outcome.err
    assert outcome.code == Exit.ENGINE
    assert [row[0] for row in stored(home)] == ["user", "assistant"] * 2


def test_a_summary_of_another_path_is_not_used(
    echo_chat: EchoChat, asked: list[str], home: Path
) -> None:
    outcome = echo_chat.piped(*asked, "/room summarise", "/branch 2", "/room use", pieces=["yes"])
    assert "Error: there is no summary" in outcome.err
    assert "Kept as session 1." in outcome.err
    assert [row[0] for row in stored(home)] == ["user", "assistant"] * 2


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("/room drop", "/room drop would free nothing now"),
        ("/room up", "/room knows no up"),
        ("/room use", "there is no summary"),
    ],
)
def test_what_cannot_be_done_is_one_line(command: str, told: str, echo_chat: EchoChat) -> None:
    outcome = echo_chat.piped(command, pieces=["yes"])
    assert f"Error: {told}" in outcome.err
    assert "Traceback" not in outcome.err


def test_a_larger_context_answers_what_had_no_room(cli: Cli, home: Path) -> None:
    long = STORY * 40
    outcome = cli("chat", "-n", "4", "-c", "256", piped=f"{long}\n/room\n/room raise\n".encode())
    assert "/room raise: Raise the context from 256 to " in outcome.err
    assert "The question has room then." in outcome.err
    assert "The question that had no room is asked again." in outcome.err
    assert outcome.out.strip()
    assert stored(home)[-2][1] == long.strip()


def test_a_larger_context_that_does_not_load_is_not_tried_again_with_the_next_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    larger = Offer("raise", 4096, "Raise it.", True, n_ctx=8192)
    monkeypatch.setattr("ondevice.chat.room.offers", lambda *_: [larger])
    path = script(tmp_path, pieces=["yes"])
    file, before = ModelFile(path, "echo", "echo"), LoadOptions(n_ctx=4096)
    desk = Desk(
        chat=Chat(None),
        file=file,
        lines=Lines(),
        interrupts=Interrupts(stay=False),
        resolve=lambda _name: file,
        models=list,
        price=lambda *_: None,
        load_options=before,
        sampling=Sampling(),
        max_tokens=10,
        settings=Settings(),
    )
    with closing(desk.chat):
        desk.load()
        good = path.read_bytes()
        path.write_text("no script")
        with pytest.raises(ModelLoadFailed):
            make_room(desk, "raise")
        assert desk.load_options == before
        path.write_bytes(good)
        desk.load()
        make_room(desk, "raise")
        assert desk.load_options == LoadOptions(n_ctx=8192)


def test_answers_keep_to_a_schema_until_it_is_taken_away(cli: Cli, tmp_path: Path) -> None:
    schema = tmp_path / "colour.json"
    schema.write_text('{"enum": ["red", "green"]}')
    lines = f"/schema {schema}\nName a colour.\n/schema none\n/schema\n/schema {tmp_path}/no\n"
    outcome = cli("chat", "-n", "8", piped=lines.encode())
    assert outcome.out.strip() in ('"red"', '"green"')
    assert "Answers keep to no schema." in outcome.err
    assert "cannot be read: No such file or directory" in outcome.err
