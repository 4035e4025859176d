"""Write a GGUF file of a real model's exact shape, filled with random weights.

Speed and memory depend on a model's shape, not on its values, so such a file tells what a machine
can do before anything is downloaded. Its text is noise, and its header says so.
"""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ondevice import units
from ondevice.errors import UsageTrouble
from ondevice.gguf.architectures import metadata_of, tensors_of
from ondevice.gguf.header import RANDOM_WEIGHTS_KEY
from ondevice.gguf.recipes import FILE_TYPE_NUMBERS, known_quantization, type_of
from ondevice.gguf.spec import SHAPES, RwkvShape, ShapeSpec, SsmShape
from ondevice.gguf.vocabulary import CHAT_TEMPLATE, vocabulary_of
from ondevice.gguf.writer import (
    MetadataEntry,
    TypedTensor,
    header_bytes,
    weights_bytes,
    write_weights,
)
from ondevice.hardware.locks import claim, discard, publish
from ondevice.hardware.temporary import temporary_folder

__all__ = [
    "SHAPES",
    "RwkvShape",
    "ShapeSpec",
    "SsmShape",
    "planned_tensors",
    "shape_bytes",
    "temporary_shape",
    "write_shape",
]

SPARE_BYTES: Final = 64 * 2**20
"""Disk space that is left for others."""


def write_shape(
    name_or_spec: str | ShapeSpec, quantization: str, path: Path, *, seed: int = 0
) -> int:
    """Write the file and return its size in bytes.

    It is written as `<path>.part` and renamed, so `path` never holds half a file. Raises
    `UsageTrouble` for an unknown shape or quantization, too little disk space, or a disk that
    refuses.
    """
    spec, quantization = _known_shape(name_or_spec), known_quantization(quantization)
    tensors = planned_tensors(spec, quantization)
    header = header_bytes(_metadata(spec, quantization), tensors)
    size = len(header) + weights_bytes(tensors)
    try:
        _write_and_rename(path, header, tensors, size, random.Random(seed))
    except BlockingIOError as error:
        raise UsageTrouble(
            f"another process is writing {str(path)!r}", "Wait for it, or choose another name."
        ) from error
    except OSError as error:
        raise UsageTrouble(
            f"random weights cannot be written to {str(path)!r}: {error.strerror or error}",
            "Choose another folder, or make room.",
        ) from error
    return size


def _write_and_rename(
    path: Path, header: bytes, tensors: list[TypedTensor], size: int, rng: random.Random
) -> None:
    part = path.with_name(path.name + ".part")
    _check_space(path.parent, size - _size_of(part))
    file = claim(part)
    try:
        file.write(header)
        write_weights(file, tensors, rng)
        publish(file, part, path)
    except BaseException:
        discard(file, part)
        raise


@contextlib.contextmanager
def temporary_shape(
    name_or_spec: str | ShapeSpec,
    quantization: str,
    *,
    seed: int = 0,
    folder: Path | None = None,
) -> Iterator[Path]:
    """A shape's file for as long as the block lasts.

    After a kill, the next call removes what was left. `folder` is where to write when the
    system's temporary folder is too small, which it is where it lies in memory.
    """
    spec = _known_shape(name_or_spec)
    with temporary_folder(folder) as own:
        path = own / f"{spec.name}-{known_quantization(quantization)}.gguf"
        write_shape(spec, quantization, path, seed=seed)
        yield path


def planned_tensors(name_or_spec: str | ShapeSpec, quantization: str) -> list[TypedTensor]:
    """The tensors a file would have, with their types."""
    spec, known = _known_shape(name_or_spec), known_quantization(quantization)
    return [TypedTensor(tensor, type_of(tensor, spec, known)) for tensor in tensors_of(spec)]


def shape_bytes(name_or_spec: str | ShapeSpec, quantization: str) -> int:
    """The bytes of weights a file would have; its header adds at most a few MB."""
    return weights_bytes(planned_tensors(name_or_spec, quantization))


def _known_shape(name_or_spec: str | ShapeSpec) -> ShapeSpec:
    if isinstance(name_or_spec, ShapeSpec):
        return name_or_spec
    spec = SHAPES.get(name_or_spec)
    if spec is None:
        raise UsageTrouble(f"no shape is called {name_or_spec!r}", f"Known: {', '.join(SHAPES)}.")
    return spec


def _metadata(spec: ShapeSpec, quantization: str) -> dict[str, MetadataEntry]:
    vocabulary = vocabulary_of(spec)
    metadata: dict[str, MetadataEntry] = {
        "general.architecture": spec.architecture,
        "general.type": "model",
        "general.name": f"random weights in the shape of {spec.name}",
        "general.file_type": FILE_TYPE_NUMBERS[quantization],
        "general.quantization_version": 2,
        RANDOM_WEIGHTS_KEY: True,
        **metadata_of(spec),
        "tokenizer.ggml.model": vocabulary.model,
        "tokenizer.ggml.pre": "gpt-2" if vocabulary.model == "gpt2" else "default",
        "tokenizer.ggml.tokens": vocabulary.tokens,
        "tokenizer.ggml.token_type": vocabulary.types,
        "tokenizer.ggml.add_bos_token": vocabulary.add_bos,
        "tokenizer.ggml.add_space_prefix": False,
    }
    for key, token in vocabulary.special.items():
        metadata[f"tokenizer.ggml.{key}"] = token
    if vocabulary.scores:
        metadata["tokenizer.ggml.scores"] = vocabulary.scores
    if vocabulary.merges:
        metadata["tokenizer.ggml.merges"] = vocabulary.merges
    if spec.chat:
        metadata["tokenizer.chat_template"] = CHAT_TEMPLATE
    return metadata


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed + SPARE_BYTES > free:
        raise UsageTrouble(
            f"not enough disk space: {units.size(needed)} are needed, {units.size(free)} are free",
            f"Make room, or choose another folder than {str(folder)!r}.",
        )


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
