"""Perplexity and divergence of real models over a text."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import score_reference
from driving import child_pids
from onnx_folder import write_tiny

from ondevice import errors
from ondevice.domain.generation import LoadOptions, Prompt
from ondevice.domain.model import ModelFile
from ondevice.domain.quality import Assessment
from ondevice.engines.process import EngineProcess
from ondevice.quality.perplexity import Begun, Progress, Reading, assess, own_text

SHORT = Reading(window=64, stride=32, limit=150)


def assessments(
    *files: ModelFile, reference: ModelFile | None = None, text: str = "", **how: Any
) -> list[Assessment]:
    """What `assess` says of each, the reference first."""
    reading, folder = how.pop("reading", SHORT), how.pop("folder", Path("unused"))
    events = assess(files, reference, text or own_text(), reading, folder)
    return [event for event in events if isinstance(event, Assessment)]


def test_the_text_of_our_own_is_of_the_length_that_is_said(either_file: ModelFile) -> None:
    engine = EngineProcess(either_file.engine)
    engine.load(either_file, LoadOptions(n_ctx=64))
    assert 1000 < len(engine.tokenize(Prompt(text=own_text())).ids) < 2000
    engine.close()


def test_perplexity_is_what_other_code_makes_of_the_same_windows(either_file: ModelFile) -> None:
    engine = EngineProcess(either_file.engine)
    engine.load(either_file, LoadOptions(n_ctx=64))
    ids = list(engine.tokenize(Prompt(text=own_text())).ids[:150])
    engine.close()
    (first, *rest) = score_reference.log_probabilities(
        either_file, [ids[0:64], ids[32:96], ids[64:128], ids[86:150]]
    )
    surprises = [-each for each in first]
    for window, new in zip(rest, (32, 32, 22), strict=True):
        surprises += [-each for each in window[-new:]]
    (found,) = assessments(either_file)
    assert found.tokens == len(surprises) == 149
    expected = math.exp(math.fsum(surprises) / 149)
    assert found.perplexity.value == pytest.approx(expected, rel=0.01)
    deviation = [each - math.fsum(surprises) / 149 for each in surprises]
    error = math.sqrt(math.fsum(each * each for each in deviation) / 148 / 149)
    assert found.perplexity.standard_error == pytest.approx(expected * error, rel=0.02)
    assert found.divergence is None


def test_a_text_shorter_than_the_window_is_read_at_once(either_file: ModelFile) -> None:
    (found,) = assessments(
        either_file, text="The capital of France is", reading=Reading(window=512, stride=256)
    )
    assert found.tokens == 4
    assert 1 < found.perplexity.value < 1000


def test_a_file_does_not_diverge_from_itself(either_file: ModelFile, tmp_path: Path) -> None:
    first, again = assessments(either_file, reference=either_file, folder=tmp_path)
    assert first.divergence is None
    apart = again.divergence
    assert apart is not None
    assert (apart.mean.value, apart.largest, apart.agreement.value) == (0.0, 0.0, 1.0)
    assert apart.ratio.value == 1.0
    assert again.perplexity == first.perplexity
    assert list(tmp_path.iterdir()) == []


def test_two_engines_diverge_little_and_never_below_zero(
    starter_file: ModelFile, onnx_file: ModelFile, tmp_path: Path
) -> None:
    first, second, same = assessments(starter_file, onnx_file, reference=onnx_file, folder=tmp_path)
    apart = second.divergence
    assert apart is not None
    assert 0 < apart.median <= apart.mean.value < apart.largest
    assert apart.mean.value < 0.02  # what rounding to eight bits while computing makes
    assert apart.agreement.value > 0.9
    ratio = second.perplexity.value / first.perplexity.value
    assert apart.ratio.value == pytest.approx(ratio)
    assert same.divergence is not None
    assert same.divergence.mean.value == 0.0


def test_progress_goes_to_the_end_and_says_how_long_it_takes(starter_file: ModelFile) -> None:
    events = list(assess([starter_file], None, own_text(), SHORT, Path("unused")))
    begun, *progress, _last = events
    assert isinstance(begun, Begun)
    assert (begun.tokens, begun.kept_bytes) == (149, 0)
    done = [each.done_tokens for each in progress if isinstance(each, Progress)]
    assert done == sorted(done)
    assert (len(done), done[0], done[-1]) == (len(progress), 0, 149)
    before = [each for each in progress if isinstance(each, Progress) and not each.done_tokens]
    assert {each.eta_s for each in before} == {None}
    assert Progress(starter_file, 50, 150, 2.0).eta_s == 4.0


def test_the_size_of_what_is_kept_is_said_beforehand(
    starter_file: ModelFile, tmp_path: Path
) -> None:
    events = assess([starter_file], starter_file, own_text(), SHORT, tmp_path / "made")
    begun = next(events)
    assert isinstance(begun, Begun)
    assert begun.kept_bytes == 149 * 49_152 * 4
    assert not any((tmp_path / "made").iterdir())  # a file without a name, on Linux
    events.close()  # type: ignore[attr-defined]
    assert child_pids() == set()


def test_another_vocabulary_is_refused(
    starter_file: ModelFile, gemma_file: ModelFile, tmp_path: Path
) -> None:
    with pytest.raises(errors.OtherVocabulary, match="49,152 and 262,144 token ids"):
        assessments(gemma_file, reference=starter_file, folder=tmp_path)
    assert child_pids() == set()
    assert list(tmp_path.iterdir()) == []


def test_a_vocabulary_of_the_same_size_with_other_tokens_is_refused(tmp_path: Path) -> None:
    one, other = (write_tiny(tmp_path / name) for name in ("one", "other"))
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    files = [ModelFile(folder, "onnx", folder.name) for folder in (one, other)]
    with pytest.raises(errors.OtherVocabulary, match="the same ids stand for other text"):
        assessments(files[1], reference=files[0], folder=tmp_path / "logits")
    found = assessments(files[1], reference=files[0], text="xyz" * 9, folder=tmp_path / "logits")
    assert len(found) == 2


def test_each_window_begins_with_the_begin_token_of_the_model(gemma_file: ModelFile) -> None:
    """Without it this model is lost: its perplexity is in the thousands."""
    (found,) = assessments(gemma_file)
    assert found.tokens == 150
    assert found.perplexity.value < 100


@pytest.mark.parametrize(
    ("text", "limit"),
    [(" ", None), ("a", None), ("a", 5), (own_text(), 1)],
    ids=["blank", "one-token", "shorter-than-the-limit", "a-limit-of-one"],
)
def test_a_text_without_anything_to_score_is_refused(
    starter_file: ModelFile, text: str, limit: int | None
) -> None:
    reading = Reading(window=64, stride=32, limit=limit)
    with pytest.raises(errors.UsageTrouble, match="too short"):
        assessments(starter_file, text=text, reading=reading)


def test_a_limit_of_one_token_is_enough_after_a_begin_token(gemma_file: ModelFile) -> None:
    (found,) = assessments(gemma_file, reading=Reading(window=64, stride=32, limit=1))
    assert (found.tokens, found.perplexity.standard_error) == (1, None)


def test_a_window_larger_than_the_context_is_refused(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "model")
    with pytest.raises(errors.UsageTrouble, match="512 tokens, the window 1,024") as caught:
        assessments(ModelFile(folder, "onnx", "tiny"), reading=Reading(1024, 512))
    assert "--window 512" in caught.value.hint


@pytest.mark.parametrize(("window", "stride"), [(64, 0), (64, 63), (64, 64)], ids=str)
def test_a_stride_that_leaves_nothing_before_is_refused(window: int, stride: int) -> None:
    with pytest.raises(errors.UsageTrouble, match="does not go with a window"):
        Reading(window, stride)


def test_a_folder_that_cannot_be_written_is_one_line(
    starter_file: ModelFile, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(errors.UsageTrouble, match="nothing temporary can be made"):
        assessments(starter_file, reference=starter_file, folder=tmp_path / "file")
