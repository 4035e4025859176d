"""Folders ONNX Runtime is not to open, or cannot: each is a named error."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from driving import done_of, notices_of, say, text_of
from onnx_folder import move_weights, write_tiny

from ondevice import errors
from ondevice.domain.generation import (
    GREEDY,
    Adapter,
    EngineInfo,
    GenerationRequest,
    LoadOptions,
    Prompt,
)
from ondevice.domain.model import ModelFile
from ondevice.engines.process import EngineProcess
from ondevice.hardware import system
from ondevice.hardware.sampler import read_process


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "model")


@pytest.fixture
def engine() -> Iterator[EngineProcess]:
    engine = EngineProcess("onnx")
    yield engine
    engine.close()


def load(engine: EngineProcess, folder: Path, **options: Any) -> EngineInfo:
    file = ModelFile(folder, "onnx", "the model")
    return engine.load(file, LoadOptions(**({"n_ctx": 256} | options)))


def edit_config(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "genai_config.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def session_options(document: dict[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = document["model"]["decoder"]["session_options"]
    return options


def cut(path: Path, size: int) -> None:
    os.truncate(path, size)


def link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


DAMAGES: dict[str, tuple[Callable[[Path], object], type[errors.OnDeviceError], str]] = {
    "a native library": (
        lambda f: edit_config(
            f, lambda d: session_options(d).update(custom_ops_library="/tmp/evil.so")
        ),
        errors.UnsupportedModel,
        "model.decoder.session_options.custom_ops_library names a native library",
    ),
    "a file to write": (
        lambda f: edit_config(f, lambda d: session_options(d).update(enable_profiling="/tmp/x")),
        errors.UnsupportedModel,
        "enable_profiling names a file to be written",
    ),
    "a model of images": (
        lambda f: edit_config(f, lambda d: d["model"].update(vision={"filename": "v.onnx"})),
        errors.UnsupportedModel,
        "model.vision is not supported",
    ),
    "no config": (
        lambda f: (f / "genai_config.json").unlink(),
        errors.NotAModelFile,
        "the folder has no genai_config.json",
    ),
    "half a config": (
        lambda f: cut(f / "genai_config.json", 100),
        errors.NotAModelFile,
        "genai_config.json is not JSON",
    ),
    "no weights": (
        lambda f: (f / "model.onnx.data").unlink(),
        errors.NotAModelFile,
        "the folder has no model.onnx.data",
    ),
    "weights cut off": (
        lambda f: cut(f / "model.onnx.data", 1000),
        errors.NotAModelFile,
        "model.onnx.data is shorter than the model says",
    ),
    "weights by an absolute path": (
        lambda f: move_weights(f / "model.onnx", "/etc/passwd"),
        errors.NotAModelFile,
        "the model names a file outside its folder: /etc/passwd",
    ),
    "weights above the folder": (
        lambda f: move_weights(f / "model.onnx", "../model/model.onnx.data"),
        errors.NotAModelFile,
        "the model names a file outside its folder: ../model/model.onnx.data",
    ),
    "a link out of the folder": (
        lambda f: link(f / "model.onnx.data", "/etc/passwd"),
        errors.NotAModelFile,
        "model.onnx.data is a link that leads out of the folder",
    ),
    "a pipe": (
        lambda f: ((f / "tokenizer.json").unlink(), os.mkfifo(f / "tokenizer.json")),
        errors.NotAModelFile,
        "tokenizer.json is not a regular file",
    ),
    "half a graph": (
        lambda f: cut(f / "model.onnx", 2000),
        errors.NotAModelFile,
        "model.onnx cannot be read: it ends before it should",
    ),
    "an empty graph": (
        lambda f: cut(f / "model.onnx", 0),
        errors.NotAModelFile,
        "model.onnx is empty",
    ),
    "a web page for a graph": (
        lambda f: (f / "model.onnx").write_text("<!doctype html><title>404</title>"),
        errors.NotAModelFile,
        "model.onnx cannot be read: it ",
    ),
    "no tokenizer": (
        lambda f: (f / "tokenizer.json").unlink(),
        errors.NotAModelFile,
        "the folder has no tokenizer.json",
    ),
    "half a tokenizer": (
        lambda f: cut(f / "tokenizer.json", 500),
        errors.NotAModelFile,
        "tokenizer.json cannot be read",
    ),
    "a graph of other inputs": (
        lambda f: edit_config(
            f, lambda d: d["model"]["decoder"]["inputs"].update(input_ids="other")
        ),
        errors.ModelLoadFailed,
        "ONNX Runtime refused the model: ",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_folder_that_is_refused_is_named_with_its_reason(
    folder: Path, engine: EngineProcess, name: str
) -> None:
    damage, error, reason = DAMAGES[name]
    damage(folder)
    with pytest.raises(errors.OnDeviceError) as caught:
        load(engine, folder)
    assert type(caught.value) is error
    assert reason in caught.value.message
    assert caught.value.message.isprintable()


def test_a_folder_that_is_gone_is_named(tmp_path: Path, engine: EngineProcess) -> None:
    with pytest.raises(errors.NotAModelFile, match=r"the folder has no genai_config\.json"):
        load(engine, tmp_path / "gone")


def test_a_folder_of_links_into_the_cache_of_its_repository_loads(
    folder: Path, engine: EngineProcess, tmp_path: Path
) -> None:
    repository = tmp_path / "models--owner--name"
    snapshot, blobs = repository / "snapshots" / "0123" / "cpu", repository / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(blobs / str(number))
        (snapshot / path.name).symlink_to(f"../../../blobs/{number}")
    load(engine, snapshot)
    assert done_of(say(engine, "hi", max_tokens=2, ignore_eos=True)).usage.completion_tokens == 2


def test_weights_inside_the_graph_are_as_good(folder: Path, engine: EngineProcess) -> None:
    model = onnx.load_model(str(folder / "model.onnx"))
    (folder / "model.onnx.data").unlink()
    onnx.save_model(model, str(folder / "model.onnx"))
    info = load(engine, folder)
    assert info.model_paths == (str((folder / "model.onnx").resolve()),)
    assert done_of(say(engine, "hi", max_tokens=2, ignore_eos=True)).usage.completion_tokens == 2


@pytest.mark.skipif(not system.is_linux(), reason="only Linux tells the two kinds apart")
def test_pages_of_every_file_of_weights_are_the_models(folder: Path, engine: EngineProcess) -> None:
    graph, second = folder / "model.onnx", folder / "second.data"
    second.write_bytes((folder / "model.onnx.data").read_bytes() + bytes(4096))  # the larger one
    move_weights(graph, "second.data", only="cosines")  # looked up in, so their pages stay
    info = load(engine, folder)
    say(engine, "hi", max_tokens=2, ignore_eos=True)
    assert info.model_paths == (str(second), str(folder / "model.onnx.data"))
    memory = read_process(info.pid, info.model_paths)
    each = [read_process(info.pid, (path,)) for path in info.model_paths]
    assert memory is not None
    assert memory.model_pages_bytes == sum(one.model_pages_bytes or 0 for one in each if one)
    assert all(one and one.model_pages_bytes for one in each)


def test_a_folder_made_for_a_gpu_says_where_it_computes(
    folder: Path, engine: EngineProcess
) -> None:
    cuda = [{"CUDAExecutionProvider": {"enable_cuda_graph": "0"}}]
    edit_config(folder, lambda d: session_options(d).update(provider_options=cuda))
    info = load(engine, folder)
    told = {notice.code: notice.message for notice in info.notices}
    assert info.backend == "cpu"
    assert told["execution_provider"] == (
        "genai_config.json was made for cuda; it computes on: cpu"
    )


@pytest.mark.parametrize("named", ["cuda", "directml"])
def test_a_gpu_that_does_not_start_is_told_and_the_cpu_computes(
    named: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is installed says it is a GPU's build, and the library itself then has no such part."""
    distribution = tmp_path / "installed" / f"onnxruntime_genai_{named}-0.18.0.dist-info"
    distribution.mkdir(parents=True)
    text = f"Metadata-Version: 2.1\nName: onnxruntime-genai-{named}\nVersion: 0.18.0\n"
    (distribution / "METADATA").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(distribution.parent))
    engine = EngineProcess("onnx")
    info = load(engine, folder, gpu_layers=99)
    (told,) = [each.message for each in info.notices if each.code == "execution_provider"]
    name = {"cuda": "cuda", "directml": "dml"}[named]
    assert told.startswith(f"{name} does not start, so it computes on: cpu (")
    assert info.backend == "cpu"
    assert info.build.startswith(f"onnxruntime-genai-{named} 0.18.0")
    assert done_of(say(engine, "hi", max_tokens=2, ignore_eos=True)).usage.completion_tokens == 2
    engine.close()


def test_a_context_is_no_larger_than_the_folder_allows_which_is_told(
    folder: Path, engine: EngineProcess
) -> None:
    info = load(engine, folder, n_ctx=513)
    assert info.n_ctx == 512
    assert [notice.code for notice in info.notices] == ["context"]


def test_a_context_larger_than_memory_is_refused_with_the_numbers(
    folder: Path, engine: EngineProcess
) -> None:
    edit_config(folder, lambda d: d["model"].update(context_length=2_000_000_000))
    refused = pytest.raises(errors.ModelLoadFailed, match=r"2,000,000,000 tokens needs .* are free")
    with refused as caught:
        load(engine, folder, n_ctx=2_000_000_000)
    assert "the setting `context`" in caught.value.hint


def test_without_a_size_the_context_is_what_other_engines_take(
    folder: Path, engine: EngineProcess
) -> None:
    edit_config(folder, lambda d: d["model"].update(context_length=131_072))
    assert load(engine, folder, n_ctx=None).n_ctx == 4096


def test_an_adapter_is_refused(folder: Path, engine: EngineProcess) -> None:
    with pytest.raises(errors.AdapterRefused, match="LoRA adapters are not loaded"):
        load(engine, folder, adapters=(Adapter(Path("x")),))


def test_choices_that_the_graph_has_made_are_told(folder: Path, engine: EngineProcess) -> None:
    info = load(engine, folder, flash_attention=True, kv_type="q8_0")
    assert [notice.code for notice in info.notices] == ["kv_type", "flash_attention"]


def test_a_schema_is_refused(folder: Path, engine: EngineProcess) -> None:
    load(engine, folder)
    with pytest.raises(errors.SchemaRefused):
        next(engine.generate(GenerationRequest(Prompt(text="a"), schema="{}")))


def test_a_folder_without_a_template_continues_a_chat_and_says_so(
    folder: Path, engine: EngineProcess
) -> None:
    (folder / "chat_template.jinja").unlink()
    assert not load(engine, folder).has_template
    events = say(engine, "hi", sampling=GREEDY, max_tokens=2, ignore_eos=True)
    assert "completion_mode" in notices_of(events)
    raw = GenerationRequest(Prompt(text="hi"), GREEDY, max_tokens=2, ignore_eos=True)
    assert text_of(events) == text_of(engine.generate(raw))


def test_a_template_in_the_settings_of_the_tokenizer_is_used(
    folder: Path, engine: EngineProcess
) -> None:
    (folder / "chat_template.jinja").unlink()
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    settings["chat_template"] = "{{ bos_token }}{{ messages[0].content }}"
    settings["bos_token"] = {"content": "<|im_start|>", "special": True}
    path.write_text(json.dumps(settings))
    assert load(engine, folder).has_template
    assert engine.count_tokens(Prompt.chat("four")).total == 1 + len("four")


def test_a_tokenizer_with_ids_the_model_has_not_is_named(
    folder: Path, engine: EngineProcess
) -> None:
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["added_tokens"].append(tokenizer["added_tokens"][0] | {"id": 5000, "content": "€€"})
    path.write_text(json.dumps(tokenizer))
    load(engine, folder)
    with pytest.raises(errors.EngineTrouble, match="ids that the model has not"):
        say(engine, "a €€ b")
