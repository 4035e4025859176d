"""Both native engines on the same real model: exact counts, kept prefixes, refusals."""

from __future__ import annotations

import random
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import reference
from driving import Answer, done_of, notices_of, text_of

from ondevice import errors
from ondevice.domain.generation import (
    GREEDY,
    ChatMessage,
    GenerationDone,
    GenerationEvent,
    GenerationRequest,
    LoadOptions,
    PrefillProgress,
    Prompt,
    Role,
    Sampling,
    TextDelta,
)
from ondevice.domain.model import ModelFile
from ondevice.engines.process import Deadlines, EngineProcess

CAPITAL = Prompt.chat("What is the capital of France? Answer with one word.")
WORDS = [
    "the",
    " cat",
    "\n\n",
    "grüße",
    "🙂👩‍👩‍👧",
    "  ",
    "<|im_end|>",
    "x = {1: 2}",
    "ça",
    "0" * 9,
    "\t",
]


def random_chats(count: int, seed: int) -> list[tuple[ChatMessage, ...]]:
    """Chats of one to five messages, an optional system message, odd text."""
    draw = random.Random(seed)

    def message(role: Role) -> ChatMessage:
        return ChatMessage(role, " ".join(draw.choices(WORDS, k=draw.randint(1, 12))))

    chats = []
    for _ in range(count):
        head = [message("system")] if draw.random() < 0.3 else []
        roles: list[Role] = ["user", "assistant", "user", "assistant", "user"]
        chats.append((*head, *map(message, roles[: draw.choice([1, 3, 5])])))
    return chats


def greedy(engine: EngineProcess, prompt: Prompt, max_tokens: int = 8) -> list[GenerationEvent]:
    return list(engine.generate(GenerationRequest(prompt, GREEDY, max_tokens=max_tokens)))


def assert_counts_agree(engine: EngineProcess, file: ModelFile, starter: Path, chats: int) -> None:
    made = random_chats(chats, seed=7)
    plain = [[asdict(one) for one in chat] for chat in made]
    counted = [engine.count_tokens(Prompt(messages=chat)).total for chat in made]
    assert counted == [len(ids) for ids in reference.ask_for(file, starter, plain)]


def test_prompt_tokens_are_those_of_an_independent_tokenizer(
    either: EngineProcess, either_file: ModelFile, starter_path: Path
) -> None:
    assert_counts_agree(either, either_file, starter_path, chats=20)


@pytest.mark.soak
def test_prompt_tokens_are_those_of_an_independent_tokenizer_200_times(
    either: EngineProcess, either_file: ModelFile, starter_path: Path
) -> None:
    assert_counts_agree(either, either_file, starter_path, chats=200)


def test_greedy_text_and_counts_are_those_of_the_high_level_class(
    either: EngineProcess, starter_path: Path
) -> None:
    messages = [asdict(message) for message in CAPITAL.messages]
    asked = reference.ask(starter_path, chats=[messages], complete=messages, max_tokens=12)
    events = greedy(either, CAPITAL, max_tokens=12)
    usage = done_of(events).usage
    assert text_of(events) == asked["text"]
    assert usage.prompt_tokens == len(asked["ids"][0])
    assert usage.completion_tokens in (asked["completion_tokens"], asked["completion_tokens"] + 1)


def test_generated_tokens_are_counted_exactly(either: EngineProcess) -> None:
    request = GenerationRequest(CAPITAL, GREEDY, max_tokens=33, ignore_eos=True)
    events = list(either.generate(request))
    done = done_of(events)
    assert (done.usage.completion_tokens, done.finish_reason) == (33, "length")
    last = [event for event in events if isinstance(event, TextDelta)][-1]
    assert last.context_tokens == done.usage.prompt_tokens + last.completion_tokens
    assert done.decode_tok_per_s == pytest.approx(32 / done.timings.decode_s)


class Conversation:
    """Turns of one chat, as the layer above keeps them."""

    def __init__(self, engine: EngineProcess) -> None:
        self.engine = engine
        self.messages: list[ChatMessage] = []
        self.events: list[GenerationEvent] = []

    def ask(self, text: str, max_tokens: int = 24) -> GenerationDone:
        self.messages.append(ChatMessage("user", text))
        self.events = greedy(self.engine, Prompt(messages=tuple(self.messages)), max_tokens)
        self.messages.append(ChatMessage("assistant", text_of(self.events)))
        return done_of(self.events)


def held_after(done: GenerationDone) -> int:
    """The last sampled token is not evaluated: its logits would be of no use."""
    return done.usage.prompt_tokens + done.usage.completion_tokens - 1


def test_a_new_turn_evaluates_only_what_is_new(either: EngineProcess) -> None:
    chat = Conversation(either)
    before = chat.ask("Say something about cats, in one sentence.")
    for text in ("And dogs?", "Why?", "Thanks."):
        done = chat.ask(text)
        assert done.usage.cached_tokens == held_after(before)
        assert notices_of(chat.events) in ([], ["threads"])
        before = done


def test_a_regenerated_answer_reuses_its_prompt_and_says_the_same(either: EngineProcess) -> None:
    first = greedy(either, CAPITAL)
    again = greedy(either, CAPITAL)
    assert text_of(again) == text_of(first)
    usage = done_of(again).usage
    assert usage.cached_tokens == usage.prompt_tokens - 1
    assert "cache_miss" not in notices_of(again)


def test_an_edited_question_reuses_what_stands_before_it(either: EngineProcess) -> None:
    chat = Conversation(either)
    first = chat.ask("Name a colour.")
    chat.ask("Name another one, please.")
    edited = (*chat.messages[:2], ChatMessage("user", "Quite another question."))
    events = greedy(either, Prompt(messages=edited))
    assert done_of(events).usage.cached_tokens >= held_after(first)
    assert "cache_miss" in notices_of(events)


SMILES = ChatMessage("user", "Repeat this: " + "🙂" * 12)
"""The model goes on with more of them; each is two tokens."""


def test_half_a_character_at_the_end_is_neither_shown_nor_kept(
    either: EngineProcess, either_file: ModelFile
) -> None:
    other = EngineProcess(either_file.engine)
    other.load(either_file, LoadOptions(n_ctx=512))
    said = []
    for max_tokens in range(1, 7):
        text = text_of(greedy(either, Prompt(messages=(SMILES,)), max_tokens))
        turn = (SMILES, ChatMessage("assistant", text), ChatMessage("user", "And?"))
        next_one = Prompt(messages=turn)
        assert either.count_tokens(next_one) == other.count_tokens(next_one)
        said.append(text)
    other.close()
    assert said == ["", "🙂", "🙂", "🙂🙂", "🙂🙂", "🙂🙂🙂"]


def test_half_a_character_at_a_full_context_is_not_shown(either_file: ModelFile) -> None:
    engine = EngineProcess(either_file.engine)
    engine.load(either_file, LoadOptions(n_ctx=256))
    said = []
    for smiles in (111, 110):  # so that one token fits, or three
        prompt = Prompt.chat("Please repeat this: " + "🙂" * smiles)
        events = greedy(engine, prompt, max_tokens=99)
        assert done_of(events).finish_reason == "context_full"
        said.append(text_of(events))
    engine.close()
    assert said == ["", "🙂"]


def test_token_ids_asked_before_do_not_get_into_a_chat(either: EngineProcess) -> None:
    expected = text_of(greedy(either, CAPITAL))
    count = either.count_tokens(CAPITAL)
    list(either.generate(GenerationRequest(Prompt(tokens=(5, 6, 7)), GREEDY, max_tokens=3)))
    list(either.generate(GenerationRequest(Prompt(text="Once upon"), GREEDY, max_tokens=3)))
    assert either.count_tokens(CAPITAL) == count
    assert text_of(greedy(either, CAPITAL)) == expected


def test_a_cancel_in_prefill_stops_within_a_second_and_the_next_answer_is_right(
    either: EngineProcess, either_file: ModelFile
) -> None:
    expected = text_of(greedy(either, CAPITAL))
    engine = EngineProcess(either_file.engine, Deadlines(stop_s=1.0))  # past it, an error
    engine.load(either_file, LoadOptions(n_ctx=4096))
    answer = Answer(engine, GenerationRequest(Prompt.chat("word " * 3500)))
    assert answer.prefill_began.wait(20)
    engine.cancel()
    done = done_of(answer.wait())
    assert (done.finish_reason, done.usage.completion_tokens) == ("cancelled", 0)
    assert done.timings.ttft_s is None
    seen = [event for event in answer.events if isinstance(event, PrefillProgress)][-1]
    assert seen.done_tokens <= done.usage.evaluated_tokens < seen.total_tokens
    assert done.timings.busy_s == done.timings.prefill_s is not None
    assert text_of(greedy(engine, CAPITAL)) == expected
    engine.close()


def test_an_overflow_is_refused_before_anything_is_touched(either: EngineProcess) -> None:
    expected = text_of(greedy(either, CAPITAL))
    with pytest.raises(errors.ContextOverflow, match="the context holds 2,048") as caught:
        next(either.generate(GenerationRequest(Prompt.chat("word " * 3000))))
    assert "Nothing was cut" in caught.value.hint
    assert "the setting `context`, or -c, up to 8192" in caught.value.hint
    events = greedy(either, CAPITAL)
    assert text_of(events) == expected
    assert done_of(events).usage.cached_tokens > 0


def test_ten_megabytes_are_refused_without_tokenizing_them(either: EngineProcess) -> None:
    prompt = Prompt.chat("paste " * 1_700_000)
    began = time.monotonic()
    with pytest.raises(errors.ContextOverflow, match="characters"):
        next(either.generate(GenerationRequest(prompt)))
    assert time.monotonic() - began < 1.5  # tokenizing it takes seven seconds, refusing 0.1


def test_a_stop_string_ends_the_answer_and_is_not_in_it(either: EngineProcess) -> None:
    prompt = Prompt(text="one, two, three, four,")
    whole = text_of(greedy(either, prompt, max_tokens=12))
    stop = whole[4:8]
    request = GenerationRequest(prompt, GREEDY, max_tokens=12, stop=(stop,))
    events = list(either.generate(request))
    assert text_of(events) == whole[: whole.index(stop)]
    assert done_of(events).finish_reason == "stop"


def test_one_token_has_no_decode_rate(either: EngineProcess) -> None:
    done = done_of(greedy(either, CAPITAL, max_tokens=1))
    assert (done.usage.completion_tokens, done.finish_reason) == (1, "length")
    assert done.timings.decode_s == 0.0
    assert done.decode_tok_per_s is None
    assert done.timings.ttft_s is not None


def test_no_tokens_means_only_to_read_the_prompt(either: EngineProcess) -> None:
    done = done_of(greedy(either, Prompt(tokens=tuple(range(500, 600))), max_tokens=0))
    assert (done.usage.completion_tokens, done.finish_reason) == (0, "length")
    assert done.prefill_tok_per_s is not None
    assert (done.timings.ttft_s, done.decode_tok_per_s) == (None, None)


def test_equal_seeds_repeat_an_answer_and_others_do_not(either: EngineProcess) -> None:
    def sampled(seed: int) -> str:
        sampling = Sampling(temperature=1.5, seed=seed)
        return text_of(either.generate(GenerationRequest(CAPITAL, sampling, max_tokens=16)))

    assert sampled(1) == sampled(1)
    assert len({sampled(seed) for seed in range(4)}) > 1


@pytest.mark.parametrize("tokens", [(49152,), (1, -1), (2**40,)], ids=str)
def test_token_ids_outside_the_vocabulary_are_refused(
    either: EngineProcess, tokens: tuple[int, ...]
) -> None:
    with pytest.raises(errors.EngineTrouble, match="outside the vocabulary"):
        greedy(either, Prompt(tokens=tokens))
    assert text_of(greedy(either, CAPITAL))


def test_an_empty_prompt_is_refused(either: EngineProcess) -> None:
    with pytest.raises(errors.EngineTrouble, match="the prompt is empty"):
        greedy(either, Prompt(text=""))


def test_text_is_continued_without_a_template(either: EngineProcess) -> None:
    events = greedy(either, Prompt(text="The capital of France is"))
    assert "Paris" in text_of(events)
    assert done_of(events).usage.prompt_tokens == 5


def test_a_base_model_continues_a_chat_and_says_so(gemma_path: Path) -> None:
    engine = EngineProcess("llama.cpp")
    info = engine.load(ModelFile(gemma_path, "llama.cpp", "gemma"), LoadOptions(n_ctx=512))
    assert not info.has_template
    as_chat = greedy(engine, Prompt.chat("The capital of France is"))
    as_text = greedy(engine, Prompt(text="The capital of France is"))
    assert text_of(as_chat) == text_of(as_text)
    assert notices_of(as_chat)[0] == "completion_mode"
    assert "completion_mode" not in notices_of(as_text)
    engine.close()
