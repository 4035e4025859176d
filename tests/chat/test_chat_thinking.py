"""A model whose prompt begins its thinking, with answers that do not begin with any."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chatting import last, open_chat
from templates import BEGINNING_TO_THINK
from tiny import TINY, with_template

from ondevice.chat import Chat
from ondevice.domain.generation import GREEDY, LoadOptions
from ondevice.domain.model import ModelFile
from ondevice.domain.thinking import Split, ThinkingStyle, split
from ondevice.gguf.shapes import write_shape
from ondevice.storage.database import Database
from ondevice.storage.sessions import Sessions


@pytest.fixture
def thinker(database: Database, tmp_path: Path) -> Iterator[Chat]:
    path = tmp_path / "model.gguf"
    write_shape(TINY, "F16", path)
    path.write_bytes(with_template(path.read_bytes(), BEGINNING_TO_THINK))
    with open_chat(Sessions(database)) as chat:
        chat.load(ModelFile(path, "llama.cpp", "thinker"), LoadOptions(n_ctx=512))
        yield chat


@pytest.mark.parametrize(
    ("written", "read"), [("Paris is it.", "Paris is it."), ("hm\n</think>\n\nParis", "Paris")]
)
def test_it_reads_what_another_model_answered(
    written: str, read: str, thinker: Chat, database: Database
) -> None:
    """Its vocabulary has a token for each byte."""
    sessions = Sessions(database)
    session = sessions.create("Cities")
    sessions.add(session.id, "user", "Which?")
    sessions.add(session.id, "assistant", written, model="another")
    thinker.open(session)
    question, answer = thinker.conversation.messages
    more = thinker.count().used - thinker.parts_of([question]).used
    empty = "<|im_start|>assistant\n<|im_end|>\n"
    assert more == len(empty) + len(read)
    assert answer.content == written


def test_its_answer_under_a_schema_is_no_thinking(thinker: Chat) -> None:
    assert thinker.info is not None
    style = thinker.info.thinking
    assert style == ThinkingStyle(begun_by_prompt=True)
    thinker.schema = '{"enum": ["red", "blue"]}'
    list(thinker.send("Which colour?", GREEDY, 20))
    text = last(thinker).content
    assert text in ('"red"', '"blue"')
    assert split(text, style.under(thinker.schema)) == Split("", text, closed=True)
