"""Models that are judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from ondevice.domain.model import ModelFile


@pytest.fixture
def starter_file(starter_path: Path) -> ModelFile:
    return ModelFile(starter_path, "llama.cpp", "starter")


@pytest.fixture
def onnx_file(onnx_path: Path) -> ModelFile:
    return ModelFile(onnx_path, "onnx", "starter")


@pytest.fixture
def gemma_file(gemma_path: Path) -> ModelFile:
    return ModelFile(gemma_path, "llama.cpp", "gemma")
