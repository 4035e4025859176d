"""The same prompts through two models."""

from __future__ import annotations

import pytest
from driving import child_pids, echo_file

from ondevice import errors
from ondevice.domain.generation import LoadOptions, Prompt
from ondevice.domain.model import ModelFile
from ondevice.domain.parity import Comparison
from ondevice.quality.parity import Progress, Ready, compare

TEXTS = [
    "What is the capital of France? Answer with one word.",
    "Write one sentence about the sea.",
    "Name three colours.",
]
PROMPTS = [Prompt.chat(text) for text in TEXTS]
OPTIONS = LoadOptions(n_ctx=512)


def compared(one: ModelFile, other: ModelFile, max_tokens: int = 24) -> Comparison:
    *_, last = compare((one, other), PROMPTS, max_tokens, OPTIONS)
    assert isinstance(last, Comparison)
    return last


def test_a_file_agrees_with_itself(either_file: ModelFile) -> None:
    found = compared(either_file, either_file)
    assert (found.prompts, found.same, found.differences) == (3, 3, ())
    assert found.agreement == 1.0
    assert found.agreed_tokens == found.longer_tokens == found.sides[0].tokens
    assert found.other_ids == 0
    for side in found.sides:
        assert side.engine == either_file.engine
        assert side.decode_tok_per_s is not None
        assert side.prefill_tok_per_s is not None
        assert side.peak_private_bytes is not None
        assert side.model_pages_bytes is not None
    assert child_pids() == set()


def test_two_engines_with_the_same_weights_read_the_same_and_differ_where_it_is_close(
    starter_file: ModelFile, onnx_file: ModelFile
) -> None:
    found = compared(starter_file, onnx_file, max_tokens=48)
    assert [side.engine for side in found.sides] == ["llama.cpp", "onnx"]
    assert found.other_ids == 0
    assert found.agreement is not None
    assert found.agreement > 0.3
    assert found.same == found.prompts - len(found.differences)
    for each in found.differences:
        assert each.texts[0] != each.texts[1]
        assert 1 <= each.token <= 48
        for gap in each.gaps:
            assert gap is not None
            assert -0.2 < gap < 2  # both found the other's token nearly as good


def test_other_vocabularies_compare_by_text_alone(
    starter_file: ModelFile, gemma_file: ModelFile
) -> None:
    found = compared(starter_file, gemma_file, max_tokens=8)
    assert (found.agreed_tokens, found.agreement, found.other_ids) == (None, None, None)
    assert len(found.differences) == found.prompts - found.same
    assert {each.gaps for each in found.differences} <= {(None, None)}


def test_they_take_turns_and_say_how_far_they_are(starter_file: ModelFile) -> None:
    events = list(compare((starter_file, starter_file), PROMPTS, 2, OPTIONS))
    assert [type(event) for event in events] == [Ready, Ready, *[Progress] * 6, Comparison]
    progress = [event for event in events if isinstance(event, Progress)]
    assert [(each.done, each.total) for each in progress] == [(n, 6) for n in range(1, 7)]
    assert progress[-1].eta_s == 0.0


def test_an_engine_that_cannot_score_is_refused(starter_file: ModelFile, tmp_path) -> None:
    echo = echo_file(tmp_path / "echo.json")
    with pytest.raises(errors.EngineTrouble, match="cannot score"):
        compared(starter_file, echo)
    assert child_pids() == set()
