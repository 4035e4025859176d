"""LoRA adapters: what they add to the weights is what the model computes with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from adapters import ALPHA, TENSOR, Matrix, write_adapter
from driving import text_of
from tiny import TINY

from ondevice import errors
from ondevice.domain.generation import (
    GREEDY,
    Adapter,
    GenerationRequest,
    LoadOptions,
    Prompt,
)
from ondevice.domain.model import ModelFile
from ondevice.engines.llamacpp.engine import LlamaCppEngine
from ondevice.engines.process import EngineProcess
from ondevice.gguf.shapes import write_shape

RANK = 4


def factors(inputs: int, outputs: int) -> tuple[Matrix, Matrix]:
    draw = np.random.default_rng(5)
    return draw.normal(0, 0.2, (RANK, inputs)), draw.normal(0, 0.2, (outputs, RANK))


def logits(model: Path, adapters: Sequence[Adapter] = ()) -> Matrix:
    """Of the last token of a prompt, in this process: no engine tells them."""
    engine = LlamaCppEngine()
    options = LoadOptions(n_ctx=64, threads=1, repack=False, adapters=tuple(adapters))
    engine.load(ModelFile(model, "llama.cpp", "tiny"), options)
    list(engine.generate(GenerationRequest(Prompt(tokens=(300, 301, 302)), max_tokens=0)))
    context = engine._model().context
    pointer = engine._lib.llama_get_logits_ith(context.handle, -1)
    found = np.ctypeslib.as_array(pointer, (context.vocabulary(),)).copy()
    engine.close()
    return found


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    write_shape(TINY, "F32", path)
    return path


def with_change(model: Path, into: Path, change: Matrix) -> Path:
    """The same model with `change` added to one of its tensors."""
    reader = gguf.GGUFReader(model)
    (tensor,) = (each for each in reader.tensors if each.name == TENSOR)
    data = bytearray(model.read_bytes())
    weights = np.frombuffer(data, np.float32, tensor.n_elements, tensor.data_offset)
    weights += change.astype(np.float32).ravel()
    into.write_bytes(data)
    return into


@pytest.mark.parametrize("scale", [1.0, 0.5, -2.0])
def test_a_model_with_an_adapter_is_the_model_with_its_weights_changed(
    tiny: Path, tmp_path: Path, scale: float
) -> None:
    down, up = factors(TINY.n_ff, TINY.n_embd)
    adapter = write_adapter(tmp_path / "a.gguf", down, up)
    merged = with_change(tiny, tmp_path / "m.gguf", scale * ALPHA / RANK * (up @ down))
    expected, plain = logits(merged), logits(tiny)
    found = logits(tiny, [Adapter(adapter, scale)])
    assert np.abs(found - plain).max() > 0.01
    assert np.abs(found - expected).max() < 0.001


def test_scale_0_changes_nothing_and_two_halves_make_a_whole(tiny: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "a.gguf", *factors(TINY.n_ff, TINY.n_embd))
    assert np.array_equal(logits(tiny, [Adapter(adapter, 0.0)]), logits(tiny))
    halves = [Adapter(adapter, 0.5), Adapter(adapter, 0.5)]
    whole = logits(tiny, [Adapter(adapter, 1.0)])
    assert np.abs(logits(tiny, halves) - whole).max() < 0.001


@pytest.fixture
def smol_adapter(tmp_path: Path) -> Path:
    """For SmolLM2, whose queries are 576 numbers wide."""
    return write_adapter(tmp_path / "smol.gguf", *factors(576, 576), tensor="blk.3.attn_q.weight")


def test_the_starter_answers_otherwise_with_an_adapter_and_says_that_it_has_one(
    starter_path: Path, smol_adapter: Path
) -> None:
    def answer(*adapters: Adapter) -> str:
        engine = EngineProcess("llama.cpp")
        options = LoadOptions(n_ctx=512, adapters=adapters)
        info = engine.load(ModelFile(starter_path, "llama.cpp", "starter"), options)
        assert info.adapters == adapters
        request = GenerationRequest(Prompt.chat("Tell me about rivers."), GREEDY, max_tokens=24)
        text = text_of(engine.generate(request))
        engine.close()
        return text

    plain = answer()
    assert answer(Adapter(smol_adapter, 0.0)) == plain
    assert answer(Adapter(smol_adapter, 4.0)) != plain


def test_a_state_belongs_to_its_adapters(tiny: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "a.gguf", *factors(TINY.n_ff, TINY.n_embd))
    options = LoadOptions(n_ctx=64, adapters=(Adapter(adapter, 1.0),))
    engine = EngineProcess("llama.cpp")
    file = ModelFile(tiny, "llama.cpp", "tiny")
    engine.load(file, options)
    list(engine.generate(GenerationRequest(Prompt(tokens=(300, 301)), max_tokens=1)))
    state = tmp_path / "a.state"
    assert engine.save_state(state, "a" * 64)
    other = write_adapter(tmp_path / "b.gguf", *reversed([x.T for x in factors(64, 128)]))
    for adapters in ((), (Adapter(adapter, 0.5),), (Adapter(other, 1.0),)):
        engine.load(file, replace(options, adapters=adapters))
        with pytest.raises(errors.StateRefused, match="of other LoRA adapters"):
            engine.restore_state(state, "a" * 64)
    engine.load(file, options)
    assert engine.restore_state(state, "a" * 64) == 2
    engine.close()


@pytest.mark.parametrize(
    ("how", "why"),
    [
        pytest.param({"architecture": "gemma3"}, "for gemma3; the model is llama", id="another"),
        pytest.param({"kind": "magic"}, "is no LoRA adapter", id="another kind"),
        pytest.param({"alpha": "eight"}, "does not say its alpha", id="no alpha"),
        pytest.param({"tensor": "blk.7.ffn_down.weight"}, "does not go with this", id="a layer"),
        pytest.param({"down": np.ones((RANK, 32))}, "does not go with this", id="another width"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused_in_one_line(
    tiny: Path, tmp_path: Path, how: dict[str, Any], why: str
) -> None:
    down, up = factors(TINY.n_ff, TINY.n_embd)
    path = write_adapter(tmp_path / "a.gguf", **({"down": down, "up": up} | how))
    assert_refused(tiny, path, why)


@pytest.mark.parametrize("content", [b"", b"GGUF", b"<html>", json.dumps([1]).encode()])
def test_what_is_no_adapter_is_refused_in_one_line(
    tiny: Path, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(content)
    assert_refused(tiny, path, "a.gguf is no LoRA adapter: ")
    assert_refused(tiny, tmp_path / "gone.gguf", "there is no file")
    assert_refused(tiny, tiny, "tiny.gguf is no LoRA adapter")


def assert_refused(model: Path, adapter: Path, why: str) -> None:
    engine = EngineProcess("llama.cpp")
    options = LoadOptions(n_ctx=64, adapters=(Adapter(adapter),))
    with pytest.raises(errors.AdapterRefused) as caught:
        engine.load(ModelFile(model, "llama.cpp", "tiny"), options)
    assert why in caught.value.message
    assert "\n" not in caught.value.message
    engine.close()
