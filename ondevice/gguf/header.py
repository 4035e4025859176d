"""Read what a GGUF file says about itself, without trusting it and without its long arrays.

Counts, lengths, shapes and offsets come from the file, so each is checked against the format's
limits and the file's size before it is used. Long arrays (a vocabulary alone has up to 262,144
strings) are passed over, which is why 10 MB of header take tens of milliseconds.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from ondevice.domain.model import Use
from ondevice.errors import ModelNotHere, NotAModelFile, UnsupportedModel
from ondevice.gguf.cursor import DAMAGED, Cursor, Readable, damaged, shown
from ondevice.gguf.metadata import Metadata, Scalar, read_metadata
from ondevice.gguf.tables import DEFAULT_ALIGNMENT, FILE_TYPES, MAGIC
from ondevice.gguf.tensors import Tensor, TensorSummary, check_places, read_tensors, summarize

RANDOM_WEIGHTS_KEY: Final = "ondevice.random_weights"
MAX_LAYERS: Final = 512
"""llama.cpp's own limit, which it enforces by ending the process."""
MIN_ALIGNMENT: Final = 8
MAX_ALIGNMENT: Final = 2**20

_TEMPLATE = "tokenizer.chat_template"
_GUESSED = 1024  # the bit of general.file_type for "the writer was not told"
_OTHER_FILES: Final = {
    b"lmgg": "is in a format older than GGUF",
    b"tjgg": "is in a format older than GGUF",
    b"algg": "is an adapter in a format older than GGUF",
}
_MISTAKES: Final = {
    b"<!do": "is a web page",
    b"<htm": "is a web page",
    b"vers": "looks like a Git LFS pointer, the address of a file",
    b"PK\x03\x04": "is an archive",
    b"\x1f\x8b": "is compressed",
}


_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Header:
    """What a GGUF file says about itself; sizes are None where it does not say."""

    version: int
    architecture: str
    """As llama.cpp names it: `llama`, `phi3`, `mamba`."""
    name: str | None
    file_type: int | None
    quantization: str
    """`Q4_K_M`: from general.file_type, else the tensor type that holds most parameters."""
    metadata: Mapping[str, Scalar]
    """The scalar entries. Text is as the file has it: clean it before it is shown."""
    array_lengths: Mapping[str, int]
    short_arrays: Mapping[str, tuple[int, ...]]
    """Those of integers or flags: what differs from layer to layer, such as KV heads."""
    tensors: TensorSummary
    context_length: int | None
    n_layers: int | None
    n_embd: int | None
    n_heads: int | None
    """The largest of all layers, as `n_kv_heads`; 0 without attention."""
    n_kv_heads: int | None
    head_dim: int | None
    vocab: int | None
    has_chat_template: bool
    chat_template: str | None
    """None also when it is longer than 1 MiB."""
    random_weights: bool
    """Written by `ondevice.gguf.shapes`: its speed is true, its text is noise."""
    data_offset: int
    """Where the weights begin."""

    @property
    def use(self) -> Use:
        """What it is made for: an embedding model looks both ways, or pools what it computed."""
        if self.of_architecture("attention.causal") is False:
            return "embed"
        if self.of_architecture("pooling_type"):
            return "embed"
        return "chat" if self.has_chat_template else "base"

    def of_architecture(self, key: str) -> Scalar | None:
        """A scalar of the file's own architecture: `ssm.state_size` for `mamba.ssm.state_size`."""
        return self.metadata.get(f"{self.architecture}.{key}")

    def per_layer(self, key: str) -> tuple[int, ...] | None:
        """The sizes or flags of its layers in the same way; None also where one is below zero."""
        values = self.short_arrays.get(f"{self.architecture}.{key}", ())
        return values if min(values, default=-1) >= 0 else None


def read_header(path: Path) -> Header:
    """Read the header of the file at `path`.

    Raises `ModelNotHere` when there is none, `NotAModelFile` when its bytes are not a model's,
    `UnsupportedModel` when they are of a kind that is not read here; nothing else for any bytes.
    """
    return _opened(path, header_from)


def read_model(paths: Sequence[Path]) -> Header:
    """Of a model that may be split: what its first part says, with the tensors of all `paths`.

    Raises what `read_header` does, for any of them.
    """
    first = _opened(paths[0], part_from)
    return header_of(first, *(_opened(path, later_part_from) for path in paths[1:]))


def header_from(source: Readable, size: int) -> Header:
    """Read a header from the start of a stream that is `size` bytes long as a whole.

    Reads front to back, in pieces of at most 256 KiB, and stops where the weights begin.
    """
    return header_of(part_from(source, size))


@dataclass(frozen=True, slots=True)
class Part:
    """All that is before the weights of one file, of which a model may have several."""

    version: int
    architecture: str
    """Empty of a later part, which does not say."""
    metadata: Metadata
    tensors: list[Tensor]
    data_offset: int


def _opened(path: Path, read: Callable[[Readable, int], _Result]) -> _Result:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise NotAModelFile(f"{shown(path.name)} is not a file", "Name one .gguf file.")
        with path.open("rb", buffering=0) as file:
            return read(file, status.st_size)
    except FileNotFoundError:
        raise ModelNotHere(f"there is no file {shown(path.name)}", "Check its path.") from None
    except (OSError, ValueError) as error:
        # ValueError: a path with a NUL in it.
        reason = getattr(error, "strerror", None) or "its name is not usable"
        raise NotAModelFile(f"{shown(path.name)} cannot be read: {reason}", DAMAGED) from error


def part_from(source: Readable, size: int) -> Part:
    """The only file of a model, or its first one; read as in `header_from`."""
    return _part(source, size, _architecture)


def later_part_from(source: Readable, size: int) -> Part:
    """Another one, which has tensors and does not say of what."""
    return _part(source, size, lambda metadata: "")


def _part(source: Readable, size: int, architecture_of: Callable[[Metadata], str]) -> Part:
    cursor = Cursor(source, size)
    version = _read_version(cursor)
    n_tensors, n_pairs = cursor.u64(), cursor.u64()
    metadata = read_metadata(cursor, n_pairs)
    architecture = architecture_of(metadata)
    tensors = read_tensors(cursor, n_tensors)
    alignment = _alignment(metadata)
    data_offset = -(-cursor.offset // alignment) * alignment
    check_places(tensors, available_bytes=size - data_offset, alignment=alignment)
    return Part(version, architecture, metadata, tensors, data_offset)


def _read_version(cursor: Cursor) -> int:
    if cursor.remaining < len(MAGIC):
        raise damaged("the file is too short to be a model")
    magic = cursor.take(len(MAGIC))
    if magic != MAGIC:
        raise _not_gguf(magic)
    version = cursor.u32()
    if version in (2, 3):
        return version
    hint = "Look for the same model as a GGUF file of version 3."
    if version and version % 2**16 == 0:
        raise UnsupportedModel("the file is big-endian GGUF, which is not read here", hint)
    if version == 0:
        raise damaged("the file says it is GGUF version 0")
    raise UnsupportedModel(f"the file is GGUF version {version}; versions 2 and 3 are read", hint)


def _not_gguf(magic: bytes) -> NotAModelFile | UnsupportedModel:
    if magic in _OTHER_FILES:
        return UnsupportedModel(f"the file {_OTHER_FILES[magic]}", "Look for its GGUF version.")
    for start, what in _MISTAKES.items():
        if magic.lower().startswith(start.lower()):
            return NotAModelFile(f"the file {what}, not a model", "Download the model again.")
    return NotAModelFile(
        "the file is not GGUF: it does not begin with those letters",
        "GGUF files run by path, and folders for ONNX Runtime GenAI.",
    )


def _architecture(metadata: Metadata) -> str:
    architecture = metadata.text("general.architecture")
    if architecture:
        return architecture
    part, parts = metadata.scalars.get("split.no"), metadata.scalars.get("split.count")
    if isinstance(part, int) and isinstance(parts, int) and part > 0:
        raise UnsupportedModel(
            f"the file is part {part + 1} of {parts} of a model", "Open the first part."
        )
    raise damaged("the file does not say which architecture it has")


def _alignment(metadata: Metadata) -> int:
    alignment = metadata.number("general.alignment")
    if alignment is None:
        return DEFAULT_ALIGNMENT
    if not MIN_ALIGNMENT <= alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
        raise damaged(f"the alignment {alignment:,} is not possible")
    return alignment


def header_of(first: Part, *later: Part) -> Header:
    """What the first part says, with the tensors of all."""
    architecture, metadata = first.architecture, first.metadata
    tensors = summarize([tensor for part in (first, *later) for tensor in part.tensors])

    def size(key: str) -> int | None:
        return metadata.number(f"{architecture}.{key}")

    n_layers = size("block_count")
    least = 1 if tensors.count else 0  # a vocabulary alone has none
    if n_layers is not None and not least <= n_layers <= MAX_LAYERS:
        raise damaged(f"a model of {n_layers:,} layers")
    n_heads = size("attention.head_count")
    n_kv_heads = size("attention.head_count_kv")
    head_dim = size("attention.key_length")
    n_embd = size("embedding_length")
    if head_dim is None and n_embd and n_heads:
        head_dim = n_embd // n_heads
    file_type = metadata.number("general.file_type")
    tokens = metadata.array_lengths.get("tokenizer.ggml.tokens")
    return Header(
        version=first.version,
        architecture=architecture,
        name=metadata.text("general.name"),
        file_type=file_type,
        quantization=_quantization(file_type, tensors),
        metadata=metadata.scalars,
        array_lengths=metadata.array_lengths,
        short_arrays=metadata.short_arrays,
        tensors=tensors,
        context_length=size("context_length"),
        n_layers=n_layers,
        n_embd=n_embd,
        n_heads=n_heads,
        n_kv_heads=n_heads if n_kv_heads is None else n_kv_heads,
        head_dim=head_dim,
        vocab=size("vocab_size") if tokens is None else tokens,
        has_chat_template=_TEMPLATE in metadata.scalars or _TEMPLATE in metadata.long_strings,
        chat_template=metadata.text(_TEMPLATE),
        random_weights=metadata.scalars.get(RANDOM_WEIGHTS_KEY) is True,
        data_offset=first.data_offset,
    )


def _quantization(file_type: int | None, tensors: TensorSummary) -> str:
    named = None if file_type is None else FILE_TYPES.get(file_type & ~_GUESSED)
    return named or tensors.main_type or "unknown"
