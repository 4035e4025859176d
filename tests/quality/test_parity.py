"""The same prompts through two models."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from driving import child_pids, echo_file
from known_logits import ENDOFTEXT, IM_END, Logits, token, write_known
from splitting import split_gguf
from tiny import TINY

from ondevice import errors
from ondevice.domain.generation import LoadOptions, Prompt
from ondevice.domain.memory import MachineMemory
from ondevice.domain.model import ModelFile
from ondevice.domain.parity import Comparison, Difference
from ondevice.gguf.shapes import write_shape
from ondevice.quality import parity
from ondevice.quality.parity import Crowded, Progress, Ready, compare

TEXTS = [
    "What is the capital of France? Answer with one word.",
    "Write one sentence about the sea.",
    "Name three colours.",
]
PROMPTS = [Prompt.chat(text) for text in TEXTS]
OPTIONS = LoadOptions(n_ctx=512)


def compared(
    one: ModelFile, other: ModelFile, max_tokens: int = 24, prompts: Sequence[Prompt] = PROMPTS
) -> Comparison:
    *_, last = compare((one, other), prompts, max_tokens, (OPTIONS, OPTIONS))
    assert isinstance(last, Comparison)
    return last


def test_a_file_agrees_with_itself(either_file: ModelFile) -> None:
    found = compared(either_file, either_file)
    assert (found.prompts, found.same, found.differences) == (3, 3, ())
    assert found.agreement == 1.0
    assert found.agreed_tokens == found.longer_tokens == found.sides[0].tokens
    assert found.other_ids == 0
    for side in found.sides:
        assert (side.info.engine, side.info.place) == (either_file.engine, "CPU")
        assert side.decode_tok_per_s is not None
        assert side.prefill_tok_per_s is not None
        assert side.peak_private_bytes is not None
        assert side.model_pages_bytes is not None
    assert child_pids() == set()


def test_two_engines_with_the_same_weights_read_the_same_and_differ_where_it_is_close(
    starter_file: ModelFile, onnx_file: ModelFile
) -> None:
    found = compared(starter_file, onnx_file, max_tokens=48)
    assert [side.info.engine for side in found.sides] == ["llama.cpp", "onnx"]
    assert found.other_ids == 0
    assert found.agreement is not None
    assert found.agreement > 0.3
    assert found.same == found.prompts - len(found.differences)
    for each in found.differences:
        assert each.texts[0] != each.texts[1]
        assert each.token is not None
        assert 1 <= each.token <= 48
        for gap in each.gaps:
            assert gap is not None
            assert -0.2 < gap < 2  # both found the other's token nearly as good


def test_other_vocabularies_compare_by_text_alone(
    starter_file: ModelFile, gemma_file: ModelFile
) -> None:
    found = compared(starter_file, gemma_file, max_tokens=8)
    assert (found.agreed_tokens, found.agreement, found.other_ids) == (None, None, None)
    assert found.longer_tokens is None
    assert len(found.differences) == found.prompts - found.same
    assert {(each.token, each.gaps) for each in found.differences} == {(None, (None, None))}


ENDS: dict[int, float] = {IM_END: 5, ENDOFTEXT: 4}
ONE: Logits = {
    token("a"): {token("b"): 5},
    token("b"): {token("c"): 4, token("d"): 3},
    token("c"): ENDS,
    token("x"): {IM_END: 5, token("y"): 3},
    token("z"): ENDS,
}
OTHER: Logits = {
    token("a"): {token("b"): 5},
    token("b"): {token("c"): 3.5, token("d"): 4},
    token("d"): {token("e"): 5},
    token("e"): ENDS,
    token("x"): {IM_END: 2, token("y"): 4},
    token("y"): ENDS,
    token("z"): {IM_END: 4, ENDOFTEXT: 5},
}


def known(folder: Path, logits: Logits, ends: tuple[int, ...]) -> ModelFile:
    return ModelFile(write_known(folder, logits, ends), "onnx", folder.name)


def test_known_logits_differ_where_they_must_by_gaps_that_are_known(tmp_path: Path) -> None:
    one = known(tmp_path / "one", ONE, (IM_END, ENDOFTEXT))
    other = known(tmp_path / "other", OTHER, (IM_END, ENDOFTEXT))
    found = compared(one, other, prompts=[Prompt(text=each) for each in "axz"])

    def about(*gaps: float) -> Any:
        return pytest.approx(gaps, abs=1e-4)

    assert found.differences == (
        Difference(1, 2, "b", ("c", "de"), about(4 - 3, 4 - 3.5)),
        Difference(2, 1, "", ("", "y"), about(5 - 3, 4 - 2)),
    )
    # "b" of "bc." and "bde.", nothing of "." and "y.", and "." of both
    assert (found.agreed_tokens, found.longer_tokens) == (1 + 0 + 1, 4 + 2 + 1)
    assert (found.prompts, found.same, found.other_ids) == (3, 1, 0)
    assert [side.tokens for side in found.sides] == [3 + 1 + 1, 4 + 2 + 1]


def test_which_end_token_a_config_names_first_changes_no_answer(tmp_path: Path) -> None:
    one = known(tmp_path / "one", ONE, (IM_END, ENDOFTEXT))
    other = known(tmp_path / "other", ONE, (ENDOFTEXT, IM_END))
    found = compared(one, other, prompts=[Prompt(text=each) for each in "axz"])
    assert (found.agreement, found.same, found.differences) == (1.0, 3, ())


def test_a_token_that_ends_one_answer_alone_has_no_gap(tmp_path: Path) -> None:
    one = known(tmp_path / "one", ONE, (IM_END,))
    other = known(tmp_path / "other", ONE | {IM_END: {token("!"): 5}}, (ENDOFTEXT,))
    found = compared(one, other, max_tokens=2, prompts=[Prompt(text="z")])
    assert found.differences == (Difference(1, 1, "", ("", "!"), (None, None)),)


def test_an_answer_that_was_cut_off_has_no_gap_there(tmp_path: Path) -> None:
    file = known(tmp_path / "one", {token("a"): {token("a"): 5}}, (IM_END,))
    larger, smaller = OPTIONS, LoadOptions(n_ctx=4)
    *_, found = compare((file, file), [Prompt(text="a")], 8, (larger, smaller))
    assert isinstance(found, Comparison)
    (each,) = found.differences
    assert (each.token, each.before, each.texts) == (4, "aaa", ("aaaaa", ""))
    assert each.gaps == (None, None)


def test_the_other_engine_with_several_end_tokens_ends_alike(
    starter_file: ModelFile, onnx_file: ModelFile, tmp_path: Path
) -> None:
    """The first of them is one with which this model hardly ever ends an answer."""
    folder = tmp_path / "several-ends"
    shutil.copytree(onnx_file.path, folder, copy_function=os.link)
    config = json.loads((folder / "genai_config.json").read_text())
    assert config["model"]["eos_token_id"] == IM_END
    config["model"]["eos_token_id"] = [ENDOFTEXT, IM_END]
    (folder / "genai_config.json").unlink()
    (folder / "genai_config.json").write_text(json.dumps(config))
    found = compared(starter_file, ModelFile(folder, "onnx", "starter"), prompts=PROMPTS[:1])
    assert (found.agreement, found.same, found.differences) == (1.0, 1, ())
    assert found.sides[0].tokens < 24  # it ended


def test_a_split_file_counts_with_all_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "machine_memory", lambda: MachineMemory(1 << 30, 1024))
    path = tmp_path / "whole.gguf"
    write_shape(TINY, "Q4_0", path)
    parts = split_gguf(path, tmp_path, count=3)
    whole, split = (ModelFile(each, "llama.cpp", each.name) for each in (path, parts[0]))
    total = sum(part.stat().st_size for part in parts)
    for other, needed in ((split, total), (whole, total + path.stat().st_size)):
        events = compare((split, other), PROMPTS, 2, (OPTIONS, OPTIONS))
        assert next(events) == Crowded(needed, 1024)
        events.close()  # type: ignore[attr-defined]


def test_they_take_turns_and_say_how_far_they_are(starter_file: ModelFile) -> None:
    events = list(compare((starter_file, starter_file), PROMPTS, 2, (OPTIONS, OPTIONS)))
    assert [type(event) for event in events] == [Ready, Ready, *[Progress] * 6, Comparison]
    progress = [event for event in events if isinstance(event, Progress)]
    assert [(each.done, each.total) for each in progress] == [(n, 6) for n in range(1, 7)]
    assert progress[-1].eta_s == 0.0


def test_an_engine_that_cannot_score_is_refused(starter_file: ModelFile, tmp_path) -> None:
    echo = echo_file(tmp_path / "echo.json")
    with pytest.raises(errors.EngineTrouble, match="cannot score"):
        compared(starter_file, echo)
    assert child_pids() == set()
