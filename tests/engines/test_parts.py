"""The parts of a prompt: they add up to what the engine counts, and each is where it belongs."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import reference
from driving import done_of
from hypothesis import given, settings
from hypothesis import strategies as st
from templates import CHATML, IN_THE_FIRST_QUESTION, REFUSING
from tiny import TINY, with_template

from ondevice.domain.generation import (
    Attachment,
    ChatMessage,
    GenerationRequest,
    LoadOptions,
    Prompt,
    PromptTokens,
    Role,
)
from ondevice.domain.model import ModelFile
from ondevice.engines import parts
from ondevice.engines.process import EngineProcess
from ondevice.engines.template import ChatTemplate
from ondevice.gguf.shapes import write_shape
from ondevice.gguf.vocabulary import CHAT_TEMPLATE

WORDS = [
    *("the", " cat", "\n\n", "grüße", "🙂👩‍👩‍👧", "  ", "<|im_end|>", "<|user|>", "x = {1: 2}"),
    *("0" * 9, "\t", "```", "</think>", "assistant", "\ue000", "<s>"),
]


def random_chats(count: int, seed: int) -> Iterator[tuple[ChatMessage, ...]]:
    """Chats of one to five messages, often with a system message and attached texts."""
    draw = random.Random(seed)

    def text() -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(1, 12)))

    def message(role: Role) -> ChatMessage:
        files = draw.choice([0, 0, 1, 2]) if role == "user" else 0
        attached = tuple(Attachment(f"{number}.txt", text()) for number in range(files))
        return ChatMessage(role, text(), attached)

    for _ in range(count):
        head = [message("system")] if draw.random() < 0.5 else []
        roles: list[Role] = ["user", "assistant", "user", "assistant", "user"]
        yield (*head, *map(message, roles[: draw.choice([1, 3, 5])]))


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights with that tokenizer, and a template that is all its own."""
    folder = tmp_path_factory.mktemp("tiny")
    spec = replace(TINY, tokenizer=request.param, context=8192)
    write_shape(spec, "F16", folder / "whole.gguf")
    template = IN_THE_FIRST_QUESTION if request.param == "llama" else REFUSING
    path = folder / "model.gguf"
    path.write_bytes(with_template((folder / "whole.gguf").read_bytes(), template))
    return path


def assert_parts_add_up(path: Path, chats: int) -> None:
    engine = EngineProcess("llama.cpp")
    engine.load(ModelFile(path, "llama.cpp", "tiny"), LoadOptions(n_ctx=4096, threads=1))
    seen: list[tuple[int, int, int]] = []
    for messages in random_chats(chats, seed=11):
        prompt = Prompt(messages=messages)
        counted = engine.count_tokens(prompt)
        done = done_of(list(engine.generate(GenerationRequest(prompt, max_tokens=0))))
        assert counted.total == done.usage.prompt_tokens
        has_files = any(message.attached for message in messages)
        assert (counted.attached > 0) == has_files
        assert counted.history > 0
        seen.append((counted.system, counted.history, counted.attached))
    assert min(map(sum, zip(*seen, strict=True))) > chats
    engine.close()


def assert_parts_add_up_on_the_starter(
    engine: EngineProcess, file: ModelFile, starter: Path, chats: int
) -> None:
    made = list(random_chats(chats, seed=12))
    plain = [[{"role": m.role, "content": m.shown} for m in messages] for messages in made]
    counted = [engine.count_tokens(Prompt(messages=messages)) for messages in made]
    ids = reference.ask_for(file, starter, plain)
    assert [each.total for each in counted] == [len(each) for each in ids]


def test_the_parts_add_up_to_what_is_evaluated(tiny: Path) -> None:
    assert_parts_add_up(tiny, chats=20)


def test_the_parts_add_up_to_an_independent_count(
    either: EngineProcess, either_file: ModelFile, starter_path: Path
) -> None:
    assert_parts_add_up_on_the_starter(either, either_file, starter_path, chats=20)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_the_parts_add_up_for_500_chats(tiny: Path) -> None:
    assert_parts_add_up(tiny, chats=500)


@pytest.mark.soak
def test_the_parts_add_up_to_an_independent_count_500_times(
    either: EngineProcess, either_file: ModelFile, starter_path: Path
) -> None:
    assert_parts_add_up_on_the_starter(either, either_file, starter_path, chats=500)


def test_each_part_has_the_tokens_of_its_own_text(either: EngineProcess) -> None:
    """The template's words around a message are that message's; words next to a part may merge."""
    file = Attachment("notes.txt", "Rivers are long.\n" * 20)
    messages = (ChatMessage("system", "Be brief."), ChatMessage("user", "What?", (file,)))
    counted = either.count_tokens(Prompt(messages=messages))
    alone = "<|im_start|>system\nBe brief.<|im_end|>\n"
    assert counted.system == either.count_tokens(Prompt(text=alone)).total
    block = messages[1].pieces[0][1]
    assert abs(counted.attached - either.count_tokens(Prompt(text=block)).total) <= 2


def test_text_and_ids_are_history(either: EngineProcess) -> None:
    assert either.count_tokens(Prompt(tokens=(5, 6, 7))) == PromptTokens(history=3)
    text = either.count_tokens(Prompt(text="The capital of France is"))
    assert text == PromptTokens(history=5)


TEXT = st.text(st.sampled_from("ab \n<`\ue000é"), max_size=12)
MESSAGES = st.builds(
    lambda system, question, files, answer: (
        *([ChatMessage("system", system)] if system is not None else []),
        ChatMessage("user", question, tuple(Attachment("f", each) for each in files)),
        ChatMessage("assistant", answer),
        ChatMessage("user", "z"),
    ),
    st.none() | TEXT,
    TEXT,
    st.lists(TEXT, max_size=2),
    TEXT,
)


@pytest.mark.parametrize(
    "source",
    [CHAT_TEMPLATE, CHATML, IN_THE_FIRST_QUESTION, REFUSING],
    ids=["shapes", "chatml", "in the first question", "refusing"],
)
@given(messages=MESSAGES)
@settings(deadline=None, max_examples=50)
def test_spans_cover_the_prompt_and_hold_their_texts(
    source: str, messages: tuple[ChatMessage, ...]
) -> None:
    template = ChatTemplate(source, "<s>", "</s>")
    rendered, _ = template.render(messages)
    found = parts.spans(template, messages, rendered)
    ends = [end for end, _ in found]
    assert ends == sorted(ends)
    assert ends[-1] == len(rendered)
    texts = {"system": "", "history": "", "attached": ""}
    for start, (end, part) in zip([0, *ends], found, strict=False):
        texts[part] += rendered[start:end]
    for part, text in (piece for message in messages for piece in message.pieces):
        if part != "history":
            assert text.strip() in texts[part]
    assert texts["attached"].count("f:\n```") == sum(len(each.attached) for each in messages)


@pytest.mark.parametrize(
    ("source", "system"),
    [
        pytest.param(CHATML, "<|im_start|>system\nbe brief<|im_end|>\n", id="with what is around"),
        pytest.param(IN_THE_FIRST_QUESTION, "be brief", id="inside the first question"),
        pytest.param(REFUSING, "be brief", id="folded"),
        pytest.param("{{ messages[0].content | upper }}!", " BE BRIEF !", id="changed"),
    ],
)
def test_what_a_template_does_with_a_system_message_is_followed(source: str, system: str) -> None:
    messages = [ChatMessage("system", " be brief "), ChatMessage("user", "hello")]
    template = ChatTemplate(source, "<s>", "</s>")
    rendered, _ = template.render(messages)
    found = parts.spans(template, messages, rendered)
    starts = [0, *(end for end, _ in found)]
    text = "".join(
        rendered[start:end]
        for start, (end, part) in zip(starts, found, strict=False)
        if part == "system"
    )
    assert text == (system if source != CHATML else system.replace("be brief", " be brief "))


@pytest.mark.parametrize(
    ("pieces", "text", "expected"),
    [
        pytest.param([b"ab", b"c"], b"abc", [0, 2], id="piece by piece"),
        pytest.param([b"<s>", b"ab"], b"ab", [0, 0], id="a begin token that was added"),
        pytest.param([b" ab", b" c"], b"ab c", [0, 2], id="a blank that was put first"),
        pytest.param([b"a", b"<e>", b"b"], b"a  <e>b", [0, 3, 6], id="blanks that were dropped"),
        pytest.param([b"\xc3", b"\xa9"], b"\xc3\xa9", [0, 1], id="half characters"),
        pytest.param([b"x", b"a"], b"ab", [0, 0], id="bytes that stand nowhere"),
    ],
)
def test_tokens_stand_where_their_first_byte_does(
    pieces: Sequence[bytes], text: bytes, expected: list[int]
) -> None:
    assert list(parts.first_bytes(pieces, text)) == expected


@given(st.lists(st.binary(max_size=3), max_size=20), st.integers(0, 30))
def test_whatever_the_pieces_every_token_is_counted_once(pieces: list[bytes], cut: int) -> None:
    text = "some text of thirty characters"
    spans: list[parts.Span] = [(min(cut, 30), "system"), (30, "history")]
    assert parts.count(pieces, text, spans).total == len(pieces)
