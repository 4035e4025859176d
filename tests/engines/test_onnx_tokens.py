"""Tokens as bytes, and the choice among them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from onnx_tokens import byte_tokens, tokenizer

from ondevice.domain.generation import GREEDY, Sampling
from ondevice.engines.onnx.sampling import Sampler
from ondevice.engines.onnx.vocabulary import Vocabulary
from ondevice.errors import NotAModelFile


def logits(**chances: float) -> Any:
    """Of ten tokens; those named by `t` and their id have these chances, the others nearly none."""
    made = np.full(10, 1e-9, dtype=np.float32)
    for name, chance in chances.items():
        made[int(name[1:])] = chance
    return np.log(made)


def drawn(sampling: Sampling, given: Any, count: int = 300) -> dict[int, float]:
    sampler = Sampler(sampling, [])
    ids = [sampler.sample(given.copy()) for _ in range(count)]
    return {token: ids.count(token) / count for token in set(ids)}


def test_a_byte_level_vocabulary_has_every_byte() -> None:
    vocabulary = Vocabulary(json.dumps(tokenizer(byte_tokens())).encode())
    assert [vocabulary.piece(3 + byte, False) for byte in range(256)] == [
        bytes([byte]) for byte in range(256)
    ]


def test_control_tokens_are_silent_unless_asked_for() -> None:
    vocabulary = Vocabulary(json.dumps(tokenizer(byte_tokens())).encode())
    assert (vocabulary.piece(1, False), vocabulary.piece(1, True)) == (b"", b"<|im_start|>")
    assert vocabulary.is_special(1)
    assert not vocabulary.is_special(100)
    assert vocabulary.piece(5000, True) == b""


@pytest.mark.parametrize(
    "vocab",
    [
        {"\u2581hello": 0, "<0xF0>": 1, "a\u2581b": 2},
        [["\u2581hello", -1.0], ["<0xF0>", -2.0], ["a\u2581b", -3.0]],
    ],
    ids=["pairs", "scores"],
)
def test_other_vocabularies_write_spaces_and_bytes_in_their_own_way(vocab: object) -> None:
    vocabulary = Vocabulary(json.dumps({"model": {"vocab": vocab}}).encode())
    pieces = [vocabulary.piece(token, False) for token in range(3)]
    assert pieces == [b" hello", b"\xf0", b"a b"]


@pytest.mark.parametrize("data", [b"", b"[]", b'{"model": 3}', b'{"model": {"vocab": {"a": "b"}}}'])
def test_a_tokenizer_that_is_none_is_named(data: bytes) -> None:
    with pytest.raises(NotAModelFile, match=r"tokenizer\.json cannot be read"):
        Vocabulary(data)


def test_greedy_takes_the_most_probable() -> None:
    assert drawn(GREEDY, logits(t3=0.4, t4=0.6), count=5) == {4: 1.0}


def test_chances_are_those_of_the_logits() -> None:
    free = Sampling(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, seed=1)
    found = drawn(free, logits(t3=0.25, t4=0.75), count=2000)
    assert found[4] == pytest.approx(0.75, abs=0.04)


def test_a_low_temperature_favours_the_most_probable() -> None:
    cold = Sampling(temperature=0.5, top_k=0, top_p=1.0, min_p=0.0, seed=1)
    found = drawn(cold, logits(t3=0.25, t4=0.75), count=2000)
    assert found[4] == pytest.approx(0.9, abs=0.03)  # 9 : 1, the squares


@pytest.mark.parametrize(
    ("cut", "left"),
    [
        ({"top_k": 2}, {3, 4}),
        ({"top_p": 0.5}, {3}),
        ({"top_p": 0.71}, {3, 4}),
        ({"min_p": 0.3}, {3, 4}),
        ({"min_p": 0.9}, {3}),
        ({"top_k": 1}, {3}),
        ({"top_k": 0}, {3, 4, 5}),
    ],
    ids=str,
)
def test_unlikely_tokens_are_left_out(cut: dict[str, float], left: set[int]) -> None:
    open_: dict[str, Any] = {"top_k": 0, "top_p": 1.0, "min_p": 0.0}
    sampling = Sampling(temperature=1.0, seed=1, **(open_ | cut))
    assert set(drawn(sampling, logits(t3=0.6, t4=0.3, t5=0.1))) == left


def test_a_penalty_holds_for_the_prompt_and_what_was_made() -> None:
    sampler = Sampler(Sampling(temperature=0.0, repeat_penalty=2.0), [4])
    given = np.array([0, 0, 0, 1.5, 2.0, 0], dtype=np.float32)
    assert sampler.sample(given.copy()) == 3  # 4 fell to 1.0
    assert sampler.sample(given.copy()) == 4  # and then 3 to 0.75


def test_a_penalty_makes_the_improbable_less_probable() -> None:
    sampler = Sampler(Sampling(temperature=0.0, repeat_penalty=2.0), [1])
    assert sampler.sample(np.array([-1.5, -1.0], dtype=np.float32)) == 0


def test_equal_seeds_repeat_and_others_do_not() -> None:
    even = np.zeros(10, dtype=np.float32)

    def ids(seed: int) -> list[int]:
        sampler = Sampler(Sampling(temperature=1.0, min_p=0.0, seed=seed), [])
        return [sampler.sample(even.copy()) for _ in range(20)]

    assert ids(1) == ids(1)
    assert ids(1) != ids(2)
