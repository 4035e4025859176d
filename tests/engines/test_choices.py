"""What is decided when a model is loaded, and what is said of it: no more than is so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny import TINY

from ondevice import fit
from ondevice.domain.generation import EngineInfo, LoadOptions
from ondevice.domain.memory import MachineMemory
from ondevice.domain.model import ModelFile
from ondevice.engines.llamacpp import loading
from ondevice.engines.process import EngineProcess
from ondevice.gguf.header import read_header
from ondevice.gguf.shapes import write_shape
from ondevice.hardware import probe

Load = Callable[..., EngineInfo]


@pytest.fixture
def repackable(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gguf"
    write_shape(TINY, "Q4_0", path)
    layout = fit.from_header(read_header(path), path.stat().st_size)
    assert layout is not None
    assert layout.repackable_bytes > 0
    return path


@pytest.fixture
def load() -> Iterator[Load]:
    engine = EngineProcess("llama.cpp")

    def load(path: Path, **options: bool) -> EngineInfo:
        file = ModelFile(path, "llama.cpp", path.stem)
        return engine.load(file, LoadOptions(n_ctx=64, threads=1, **options))

    yield load
    engine.close()


def codes_where_memory_is_short(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    little = MachineMemory(16 << 30, 900 << 20)
    monkeypatch.setattr(probe, "machine_memory", lambda: little)
    choices = loading.choose(ModelFile(path, "llama.cpp", path.stem), LoadOptions())
    assert not choices.repack
    return [notice.code for notice in choices.notices]


def test_weights_that_could_be_repacked_and_are_not_are_told(
    repackable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert codes_where_memory_is_short(repackable, monkeypatch) == ["memory"]


def test_of_weights_that_have_no_faster_form_nothing_is_told(
    starter_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert codes_where_memory_is_short(starter_path, monkeypatch) == []  # Q4_1


def test_repacked_is_what_the_engine_did_not_what_it_was_allowed(
    load: Load, starter_path: Path, repackable: Path
) -> None:
    assert not load(starter_path, repack=True).repacked
    assert not load(repackable, repack=False).repacked
    faster = {"avx2", "asimddp", "i8mm"} & set(probe.cpu_features())
    assert load(repackable, repack=True).repacked == bool(faster)


@pytest.mark.parametrize("on", [True, False])
def test_the_loaded_model_tells_what_was_chosen(load: Load, starter_path: Path, on: bool) -> None:
    info = load(starter_path, flash_attention=on)
    assert (info.flash_attention, info.mapped) == (on, True)
    attention = "on" if on else "off"
    assert info.loaded_as == f"flash attention {attention}, weights not repacked, file mapped"


def test_what_an_onnx_folder_does_not_say_is_not_told(onnx_path: Path) -> None:
    engine = EngineProcess("onnx")
    info = engine.load(ModelFile(onnx_path, "onnx", "starter"), LoadOptions(n_ctx=64))
    engine.close()
    assert (info.flash_attention, info.mapped) == (None, None)
    assert info.loaded_as == "weights repacked"
