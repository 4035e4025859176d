"""Files llama.cpp cannot run: each is a named error."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from driving import say
from tiny import TINY

from ondevice import errors
from ondevice.domain.generation import LoadOptions
from ondevice.domain.model import ModelFile
from ondevice.engines.process import Deadlines, EngineProcess
from ondevice.gguf.shapes import write_shape

KEY, KIND = b"general.architecture", b"\x08\x00\x00\x00"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file of random weights that llama.cpp loads in milliseconds."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    write_shape(TINY, "F16", path)
    return path.read_bytes()


Load = Callable[..., EngineProcess]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Load these bytes as a model file of this name."""
    engines: list[EngineProcess] = []

    def write_and_load(
        data: bytes, name: str | bytes = "model.gguf", deadlines: Deadlines | None = None
    ) -> EngineProcess:
        path = tmp_path / os.fsdecode(name)
        path.write_bytes(data)
        engine = EngineProcess("llama.cpp", deadlines)
        engines.append(engine)
        engine.load(ModelFile(path, "llama.cpp", "the model"), LoadOptions(n_ctx=512))
        return engine

    yield write_and_load
    for engine in engines:
        engine.close()


def with_architecture(data: bytes, name: bytes) -> bytes:
    """The same file, said to be of another kind."""
    length = len(b"llama").to_bytes(8, "little")
    old = KEY + KIND + length + b"llama"
    assert data.count(old) == 1
    assert len(name) == len(b"llama")
    return data.replace(old, KEY + KIND + length + name)


@pytest.mark.parametrize(
    ("damage", "error", "reason"),
    [
        pytest.param(
            lambda data: data[: len(data) * 2 // 3],
            errors.ModelLoadFailed,
            "data is not within the file bounds, model is corrupted or incomplete",
            id="weights cut off",
        ),
        pytest.param(
            lambda data: data[:1000],
            errors.ModelLoadFailed,
            "failed to read key-value",
            id="header cut",
        ),
        pytest.param(
            lambda _: b"<!doctype html><title>404</title>" * 9,
            errors.ModelLoadFailed,
            "invalid magic characters: '<!do', expected 'GGUF'",
            id="a web page",
        ),
        pytest.param(
            lambda _: b"", errors.ModelLoadFailed, "failed to read magic", id="an empty file"
        ),
        pytest.param(
            lambda data: data[:4] + b"\x09" + data[5:],
            errors.ModelLoadFailed,
            "GGUF file is version 9",
            id="a version to come",
        ),
        pytest.param(
            lambda data: with_architecture(data, b"zebra"),
            errors.UnsupportedModel,
            "the model: unknown model architecture: 'zebra'",
            id="an unknown architecture",
        ),
        pytest.param(
            lambda data: with_architecture(data, b"\x1b]0;\x07"),
            errors.UnsupportedModel,
            "unknown model architecture: ']0;'",
            id="an architecture that is an escape sequence",
        ),
    ],
)
def test_a_file_llama_cpp_refuses_is_named_with_its_reason(
    tiny: bytes,
    load: Load,
    damage: Callable[[bytes], bytes],
    error: type[errors.OnDeviceError],
    reason: str,
) -> None:
    with pytest.raises(errors.OnDeviceError) as caught:
        load(damage(tiny))
    assert type(caught.value) is error
    assert reason in caught.value.message
    assert caught.value.message.isprintable()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    missing = ModelFile(tmp_path / "gone.gguf", "llama.cpp", "the model")
    with pytest.raises(errors.ModelLoadFailed, match="the model cannot be read: No such file"):
        EngineProcess("llama.cpp").load(missing, LoadOptions())


def test_a_file_cut_off_while_loaded_is_a_crash_that_says_the_file_changed(
    tiny: bytes, load: Load, tmp_path: Path
) -> None:
    engine = load(tiny)
    os.truncate(tmp_path / "model.gguf", 0)
    with pytest.raises(errors.EngineCrashed, match=r"SIGBUS.*the model file changed"):
        say(engine, "hi")


def test_a_context_larger_than_memory_is_refused_with_the_numbers(starter_path: Path) -> None:
    engine = EngineProcess("llama.cpp")
    options = LoadOptions(n_ctx=900_000_000)
    refused = pytest.raises(errors.ModelLoadFailed, match=r"900,000,000 tokens needs .* are free")
    with refused as caught:
        engine.load(ModelFile(starter_path, "llama.cpp", "starter"), options)
    engine.close()
    assert "the setting `context`" in caught.value.hint
