"""What a context is filled with adds up to what the engine counts, and room can be made in it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from chatting import LONG, last, load, notices, open_chat, say, until_text
from onnx_folder import write_tiny
from splitting import split_gguf
from templates import CHATML, IN_THE_FIRST_QUESTION, REFUSING
from tiny import TINY, with_template

from ondevice import units
from ondevice.chat import Chat, ChatEvent, Keeping, room
from ondevice.chat.transfer import from_json, to_json
from ondevice.domain.context import ContextParts
from ondevice.domain.generation import GREEDY, LoadOptions, PromptTokens
from ondevice.domain.measured import Measured
from ondevice.domain.model import ModelFile
from ondevice.errors import ContextOverflow, EngineTrouble, UsageTrouble
from ondevice.gguf.shapes import write_shape
from ondevice.storage.database import Database
from ondevice.storage.sessions import Sessions

WORDS = ["the", " cat", "\n\n", "grüße", "🙂👩‍👩‍👧", "  ", "<|im_end|>", "<|user|>", "0" * 9, "```"]
STORY = "Once there was a river that ran to the sea. " * 6
Real = Callable[..., Chat]


@pytest.fixture
def real(database: Database, either_file: ModelFile) -> Iterator[Real]:
    """`real(n_ctx)`: a chat with the starter model."""
    with ExitStack() as stack:

        def begin(n_ctx: int = 512) -> Chat:
            chat = stack.enter_context(open_chat(Sessions(database)))
            chat.load(either_file, LoadOptions(n_ctx=n_ctx))
            return chat

        yield begin


def ask(chat: Chat, text: str, tokens: int = 4) -> list[ChatEvent]:
    return list(chat.send(text, GREEDY, tokens))


def parts(chat: Chat) -> ContextParts:
    assert chat.context is not None
    return chat.context


QUESTION = f"One part of it. {STORY}"


def fill(chat: Chat) -> None:
    """Ask until the question has no room."""
    with suppress(ContextOverflow):
        while True:
            ask(chat, QUESTION)


def offered(chat: Chat, kind: str, text: str = QUESTION) -> room.Offer:
    (found,) = [offer for offer in room.offers(chat, text) if offer.kind == kind]
    return found


class TestTheParts:
    def test_of_a_turn_are_its_prompt_and_its_answer(self, real: Real, tmp_path: Path) -> None:
        chat = real()
        chat.folder = tmp_path
        (tmp_path / "notes.txt").write_text("Rivers are long.\n")
        chat.conversation.set_system_prompt("Be brief.")
        ask(chat, "What is @notes.txt about?")
        answer, now = last(chat), parts(chat)
        assert now.used == answer.prompt_tokens + answer.completion_tokens
        assert now.used + (now.free or 0) == 512
        assert min(now.prompt.system, now.prompt.history, now.prompt.attached) > 0
        assert chat.count() == now  # as long as there is no other question

    def test_are_those_of_another_system_prompt_from_then_on(self, real: Real) -> None:
        chat = real()
        ask(chat, "Say yes.")
        before = parts(chat).prompt
        Keeping(None, chat).set_system_prompt(None, "Be brief. Be very, very brief.")
        assert parts(chat).prompt.system > before.system
        assert chat.count() == parts(chat)

    def test_before_a_turn_are_those_of_its_prompt(self, real: Real) -> None:
        chat = real()
        assert chat.count().used == 0
        ask(chat, "Say yes.")
        before = chat.count("And no?")
        ask(chat, "And no?")
        assert last(chat).prompt_tokens == before.used

    def test_of_a_question_that_has_no_room_leave_nothing_free(self, real: Real) -> None:
        chat = real()
        fill(chat)
        with_it = chat.count(QUESTION)
        assert with_it.used >= 512
        assert (with_it.free, with_it.fits) == (0, False)
        assert parts(chat).fits

    def test_are_those_of_the_path_that_is_looked_at(self, real: Real) -> None:
        chat = real()
        ask(chat, "Say yes.")
        first, one_turn = last(chat).id, parts(chat).used
        ask(chat, "Say no.")
        both = parts(chat).used
        chat.conversation.go_to(first)
        chat.look()
        assert parts(chat) == chat.parts_of(chat.conversation.messages)
        assert one_turn <= parts(chat).used < both

    def test_are_not_counted_while_an_answer_is_made(self, chat: Chat, tmp_path: Path) -> None:
        load(chat, tmp_path, **LONG)
        events = say(chat)
        until_text(events)
        with pytest.raises(EngineTrouble, match="busy"):
            chat.count("And?")
        chat.cancel()
        list(events)
        assert chat.count("one two").used == 2

    def test_that_leave_little_are_told_once(self, real: Real) -> None:
        chat = real()
        told: list[int] = []
        while not told or told[-1] == 0:
            events = ask(chat, "Say one more word.")
            told.append(sum(each.code == "context" for each in notices(events)))
            assert parts(chat).nearly_full == bool(told[-1])
        assert not any(each.code == "context" for each in notices(ask(chat, "And one more.")))
        assert parts(chat).nearly_full

    def test_of_what_does_not_grow_leave_nothing_free_and_are_never_full(self) -> None:
        unbounded = ContextParts(PromptTokens(history=10_000), None)
        assert (unbounded.free, unbounded.fits, unbounded.nearly_full) == (None, True, False)


def test_of_a_split_model_all_parts_say_whether_a_larger_context_fits(
    database: Database, tmp_path: Path
) -> None:
    whole = tmp_path / "whole.gguf"
    write_shape(TINY, "F16", whole)
    found = []
    for path in (whole, split_gguf(whole, tmp_path)[0]):
        with open_chat(Sessions(database)) as chat:
            chat.load(ModelFile(path, "llama.cpp", "tiny"), LoadOptions(n_ctx=256))
            found.append(room.offers(chat, QUESTION))
    assert [offer.kind for offer in found[0]] == ["raise"]
    assert found[0] == found[1]


def test_a_larger_cache_takes_what_the_numbers_of_its_graph_take(
    database: Database, tmp_path: Path
) -> None:
    folder = write_tiny(tmp_path / "model")
    with open_chat(Sessions(database)) as chat:
        chat.load(ModelFile(folder, "onnx", "tiny"), LoadOptions(n_ctx=256))
        assert f"takes {units.size(256 * 2 * 32 * 4)} more" in offered(chat, "raise").said
        graph = onnx.load_model(str(folder / "model.onnx"), load_external_data=False)
        for each in graph.graph.input:
            if each.name.startswith("past"):
                each.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
        (folder / "model.onnx").write_bytes(graph.SerializeToString())
        assert f"takes {units.size(256 * 2 * 32 * 2)} more" in offered(chat, "raise").said


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A model of random weights for each of three templates."""
    folder, made = tmp_path_factory.mktemp("tiny"), []
    write_shape(replace(TINY, context=8192), "F16", folder / "whole.gguf")
    for number, template in enumerate([CHATML, IN_THE_FIRST_QUESTION, REFUSING]):
        made.append(folder / f"{number}.gguf")
        made[-1].write_bytes(with_template((folder / "whole.gguf").read_bytes(), template))
    return made


@pytest.mark.parametrize(
    "count", [pytest.param(30, id="30"), pytest.param(500, id="500", marks=pytest.mark.soak)]
)
@pytest.mark.timeout(1800)
def test_the_parts_of_random_chats_add_up(count: int, tiny: list[Path], tmp_path: Path) -> None:
    """Before a turn to the prompt, after it to prompt and answer; whatever was cut meanwhile."""
    draw = random.Random(count)

    def text() -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(1, 12)))

    with open_chat(None) as chat:
        chat.folder = tmp_path
        for number in range(count):
            if number % (count // 3) == 0 and number < count:
                path = tiny[number // (count // 3) % 3]
                file = ModelFile(path, "llama.cpp", "tiny", random_weights=True)
                chat.load(file, LoadOptions(n_ctx=4096, threads=1))
            chat.open(None, private=True, system=draw.choice(["", text()]))
            for turn in range(draw.randint(1, 4)):
                name = f"{number}-{turn}.txt"
                (tmp_path / name).write_text(text())
                asked = draw.choice([text(), f"{text()} @{name}"])
                before = chat.count(asked)
                list(chat.send(asked, GREEDY, draw.randint(0, 3)))
                answer, after = last(chat), parts(chat)
                assert answer.prompt_tokens == before.used
                assert after.used == answer.prompt_tokens + answer.completion_tokens
                assert after.used + (after.free or 0) == 4096
                if turn and draw.random() < 0.3:
                    questions = [m.id for m in chat.conversation.messages if m.role == "user"]
                    room.cut(chat, draw.choice(questions), text(), "ondevice")


class TestAQuestionThatHasNoRoom:
    def test_comes_back_and_a_shorter_one_is_answered(self, real: Real, database: Database) -> None:
        chat = real(256)
        ask(chat, "Say yes.")
        shown = chat.conversation.messages
        long = STORY * 8
        with pytest.raises(ContextOverflow) as refused:
            ask(chat, long)
        assert refused.value.question == long
        assert chat.conversation.messages == shown
        assert parts(chat) == chat.parts_of(shown)
        ask(chat, "Say no.")
        assert [each.content for each in chat.conversation.messages[::2]] == ["Say yes.", "Say no."]
        session = last(chat).session_id
        assert Sessions(database).messages(session) == chat.conversation.messages
        assert long in [each.content for each in Sessions(database).tree(session).messages]

    def test_in_the_place_of_another_leaves_that_one_shown(self, real: Real) -> None:
        chat = real(256)
        ask(chat, "Say yes.")
        shown = chat.conversation.messages
        with pytest.raises(ContextOverflow) as refused:
            list(chat.resend(shown[0].id, STORY * 8, GREEDY, 4))
        assert refused.value.question == STORY * 8
        assert chat.conversation.messages == shown

    def test_at_the_beginning_leaves_the_session_empty(self, real: Real) -> None:
        chat = real(256)
        with pytest.raises(ContextOverflow):
            ask(chat, STORY * 8)
        assert chat.conversation.messages == []
        ask(chat, "Say no.")
        assert len(chat.conversation.messages) == 2


class TestMakingRoom:
    def test_by_leaving_out_the_oldest_turns_frees_what_was_told(
        self, real: Real, database: Database
    ) -> None:
        chat = real()
        fill(chat)
        before, stored = chat.count(QUESTION).used, chat.conversation.messages
        offer = offered(chat, "drop")
        assert offer.fits
        cut = room.drop(chat, offer)
        assert before - chat.count(QUESTION).used == offer.frees_tokens
        assert (
            cut.content == f"(Left out here: the first {offer.turns} turns of this conversation.)"
        )
        ask(chat, QUESTION)
        assert [each.role for each in chat.conversation.messages[-3:]] == [
            "system",
            "user",
            "assistant",
        ]
        assert last(chat).prompt_tokens == before - offer.frees_tokens
        session = last(chat).session_id
        assert Sessions(database).messages(session) == chat.conversation.messages
        assert chat.conversation.messages[: len(stored)] == stored

    def test_leaves_out_no_more_than_half_of_the_context_needs(self, real: Real) -> None:
        chat = real()
        fill(chat)
        offer = offered(chat, "drop")
        room.drop(chat, offer)
        assert chat.count(QUESTION).used <= 256
        begins = [m.id for m in chat.conversation.messages if m.role == "user"]
        one_more = chat.conversation.messages
        kept = begins[begins.index(offer.kept_from) - 1]
        trial = [*one_more[:-1], *[type(m)(0, 0, "system", m.content, "complete", kept_from=kept)
                                   for m in one_more[-1:]], *chat.draft(QUESTION)]  # fmt: skip
        assert chat.parts_of(trial).used > 256

    def test_is_undone_by_going_back(self, real: Real) -> None:
        chat = real()
        ask(chat, f"Say yes. {STORY}")
        ask(chat, f"Say no. {STORY}")
        before = chat.conversation.prompt()
        cut = room.drop(chat, offered(chat, "drop", ""))
        assert chat.conversation.prompt() != before
        chat.conversation.go_to(cut.parent_id)
        assert chat.conversation.prompt() == before

    def test_by_a_summary_changes_nothing_until_it_is_confirmed(self, real: Real) -> None:
        chat = real()
        fill(chat)
        before = chat.conversation.messages
        offer = offered(chat, "summarise")
        (measured,) = [each for each in room.summarise(chat, offer) if isinstance(each, Measured)]
        assert chat.info is not None
        assert room.summary_of(measured, chat.info)
        assert chat.conversation.messages == before
        cut = room.use_summary(chat, offer, " It was about a river. ")
        assert cut.content == (
            f"(In short, the first {offer.turns} turns of this conversation:)\n\n"
            "It was about a river."
        )
        assert chat.conversation.prompt().messages[0].content.startswith(cut.content)
        ask(chat, QUESTION)
        assert last(chat).completion_tokens > 0

    def test_keeps_a_summary_that_stands_before_what_is_left_out(self, real: Real) -> None:
        chat = real()
        ask(chat, f"Say yes. {STORY}")
        ask(chat, f"Say no. {STORY}")
        room.use_summary(chat, offered(chat, "drop", ""), "It was about yes.")
        for count in (2, 3):
            ask(chat, f"Say maybe. {STORY}")
            cut = room.drop(chat, offered(chat, "drop", ""))
            assert cut.content == (
                "(In short, the first turn of this conversation:)\n\nIt was about yes.\n\n"
                f"(Left out here: the first {count} turns of this conversation.)"
            )

    def test_after_an_answer_leaves_no_question_to_answer(self, real: Real) -> None:
        chat = real()
        ask(chat, f"Say yes. {STORY}")
        ask(chat, f"Say no. {STORY}")
        cut = room.drop(chat, offered(chat, "drop", ""))
        with pytest.raises(UsageTrouble, match="there is no question to answer"):
            list(chat.answer_again(cut.id, GREEDY, 4))
        ask(chat, "Go on.")
        assert [each.role for each in chat.conversation.messages[-4:]] == [
            "assistant",
            "system",
            "user",
            "assistant",
        ]

    def test_on_another_path_is_refused(self, real: Real) -> None:
        chat = real()
        ask(chat, f"Say yes. {STORY}")
        first = last(chat).id
        ask(chat, f"Say no. {STORY}")
        offer = offered(chat, "drop", "")
        chat.conversation.go_to(first)
        shown = chat.conversation.messages
        for act in (lambda: room.drop(chat, offer), lambda: room.use_summary(chat, offer, "So.")):
            with pytest.raises(UsageTrouble, match="another one by now"):
                act()
        assert chat.conversation.messages == shown

    def test_with_an_empty_summary_is_refused(self, real: Real) -> None:
        chat = real()
        ask(chat, f"Say yes. {STORY}")
        ask(chat, f"Say no. {STORY}")
        with pytest.raises(UsageTrouble, match="the summary is empty"):
            room.use_summary(chat, offered(chat, "drop", ""), " \n")

    def test_by_more_context_has_the_question_answered(self, real: Real) -> None:
        chat = real()
        fill(chat)
        offer = offered(chat, "raise")
        assert offer.frees_tokens == offer.n_ctx - 512
        assert offer.n_ctx >= 2 * chat.count(QUESTION).used
        assert offer.fits
        info = room.enlarge(chat, offer)
        assert info.n_ctx == offer.n_ctx
        ask(chat, QUESTION)
        assert last(chat).completion_tokens > 0

    def test_offers_no_more_context_than_the_model_was_made_for(self, real: Real) -> None:
        chat = real(8192)
        ask(chat, "Say yes.")
        assert room.offers(chat) == []

    def test_survives_an_export(self, real: Real, database: Database) -> None:
        chat = real()
        ask(chat, f"Say yes. {STORY}")
        ask(chat, f"Say no. {STORY}")
        room.drop(chat, offered(chat, "drop", ""))
        again = Sessions(database).restore(from_json(to_json(chat.conversation.tree)))
        prompt = chat.conversation.prompt()
        chat.open(again)
        assert chat.conversation.prompt() == prompt
