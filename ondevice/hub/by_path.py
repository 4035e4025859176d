"""A model by its path: a GGUF file, or a folder for ONNX Runtime GenAI."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ondevice.domain.model import ModelFile
from ondevice.domain.text import clean_line
from ondevice.errors import ModelTrouble, NotAModelFile, UnknownModel
from ondevice.gguf.header import read_header
from ondevice.hub import names
from ondevice.onnx import chat
from ondevice.onnx.folder import read_config

Read = TypeVar("Read")
_GIVE = (
    "Give a GGUF file, or a folder for ONNX Runtime GenAI: it holds "
    f"{names.MARKER}, the graphs that this names, and a tokenizer."
)


def from_path(path: Path) -> ModelFile:
    """A GGUF file or an ONNX folder by its path.

    Its header, or the folder's config, is read, so that a wrong one is named early.
    """
    label = clean_line(str(path))
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        on_hub = names.split(str(path)) is not None
        hint = "Check the path." if not on_hub else f"Check the path, or: ondevice pull {label}"
        raise no_such_file(path, hint) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnknownModel(f"{label} cannot be read: {reason}", hint="Check the path.") from error
    if stat.S_ISDIR(mode):
        return from_folder(path, path.resolve().name)
    if not stat.S_ISREG(mode):
        raise NotAModelFile(f"{label} is not a regular file", hint=_GIVE)
    header = _said_of(label, read_header, path)
    name = clean_line(header.name or path.stem, 80)
    return ModelFile(
        path=path.absolute(),
        engine="llama.cpp",
        name=name,
        quantization=header.quantization,
        use=header.use,
        random_weights=header.random_weights,
    )


def from_folder(path: Path, name: str) -> ModelFile:
    """The model in a folder, to be called `name`."""
    label = clean_line(str(path))
    if not os.path.lexists(path / names.MARKER):
        raise NotAModelFile(
            f"{label} is a folder and no model: it has no {names.MARKER}", hint=_GIVE
        )
    _said_of(label, read_config, path)
    return ModelFile(
        path=path.absolute(),
        engine="onnx",
        name=clean_line(name, 80),
        quantization=names.quantization(path.resolve().name),
        use="chat" if _said_of(label, chat.template, path) is not None else "base",
    )


def _said_of(label: str, read: Callable[[Path], Read], path: Path) -> Read:
    """What `read` finds at `path`; its errors speak of "the file"."""
    try:
        return read(path)
    except ModelTrouble as error:
        raise type(error)(f"{label}: {error.message}", error.hint) from error


def no_such_file(path: Path, hint: str) -> UnknownModel:
    """What to raise where a path was given and nothing is there."""
    return UnknownModel(f"there is no file {clean_line(str(path))}", hint)
