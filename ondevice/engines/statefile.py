"""The state of a kept prefix as a file: what it belongs to, then the engine's own bytes.

    magic  length of the header  header (JSON)  sha256 of the header  states, one after the other

Engines check hardly anything of a state they are given, and a crafted one can take over the
process (CVE-2026-43629). So the header says which engine build, model and settings wrote it and
what each state hashes to, and nothing of a file that differs in one of these, or in one bit,
reaches the engine. The file holds the conversation as text and as numbers: it is private (0600).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ondevice.engines.kept import KeptText
from ondevice.errors import StateNotSaved, StateRefused
from ondevice.hardware.locks import claim, discard, publish

MAGIC = b"ondevice state 1\n"
MAX_HEADER_BYTES = 64 << 20
"""A context of a million tokens with its text needs less."""
MAX_STATES = 64
PART = ".part"
_LENGTH_BYTES = 8
_DIGEST_BYTES = hashlib.sha256().digest_size


class AdapterBinding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One LoRA adapter of the engine that wrote the state."""

    sha256: str
    scale: float


class Binding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a state belongs to: it means nothing to an engine that differs in any of these."""

    model_sha256: str
    model_bytes: int
    engine: str
    build: str
    backend: str
    n_ctx: int
    batch: int
    kv_type: str
    flash_attention: bool
    repacked: bool
    gpu_layers: int
    adapters: tuple[AdapterBinding, ...]


_DIFFERS = {
    "model_sha256": "another model",
    "model_bytes": "another model",
    "engine": "another engine",
    "build": "another build of the engine",
    "backend": "another device",
    "n_ctx": "another context size",
    "batch": "another build of the engine",
    "kv_type": "another type of KV cache",
    "flash_attention": "another choice of flash attention",
    "repacked": "another choice of repacking",
    "gpu_layers": "another number of layers on a GPU",
    "adapters": "other LoRA adapters",
}
assert set(_DIFFERS) == set(Binding.__struct_fields__)


class StoredState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of the states: how many ids it stands for, its length and its hash."""

    count: int
    size_bytes: int
    sha256: str


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All but the states."""

    binding: Binding
    kept: KeptText
    states: tuple[StoredState, ...]
    """The whole state first, then snapshots to go back to."""


def size_of(binding: Binding, kept: KeptText, sizes: Sequence[tuple[int, int]]) -> int:
    """Bytes of the file that `write` would make; `sizes` are (ids, bytes) of each state."""
    states = tuple(StoredState(count, size, "0" * 64) for count, size in sizes)
    head = len(_packed(Header(binding, kept, states)))
    return head + sum(size for _, size in sizes)


def write(
    path: Path, binding: Binding, kept: KeptText, states: Sequence[tuple[int, memoryview]]
) -> int:
    """Write the file and return its size; `path` holds the old file or the whole new one.

    Raises StateNotSaved, and then leaves nothing new.
    """
    rows = tuple(
        StoredState(count, len(data), hashlib.sha256(data).hexdigest()) for count, data in states
    )
    head = _packed(Header(binding, kept, rows))
    part = path.with_name(path.name + PART)
    try:
        file = claim(part)
        try:
            part.chmod(0o600)
            file.write(head)
            for _, data in states:
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
            publish(file, part, path)
        except BaseException:
            discard(file, part)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise StateNotSaved(
            f"the state of this conversation was not saved: {error.strerror or error}",
            hint="The next start reads the conversation again. Check the free space.",
        ) from error
    return len(head) + sum(len(data) for _, data in states)


def remove_part(path: Path) -> None:
    """Remove what a writer of `path` that has ended left of it."""
    part = path.with_name(path.name + PART)
    with contextlib.suppress(OSError):
        if part.exists():
            discard(claim(part), part)


def read(path: Path, binding: Binding) -> tuple[KeptText, list[tuple[int, bytearray]]]:
    """What is kept and its states, if every bit is what `binding` wrote. Raises StateRefused."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            header, head_bytes = _read_header(file, size)
            _check(header, binding, size - head_bytes)
            return header.kept, [(each.count, _read_state(file, each)) for each in header.states]
    except OSError as error:
        raise _refused(f"it cannot be read ({error.strerror or error})") from error


def _packed(header: Header) -> bytes:
    body = msgspec.json.encode(header)
    length = len(body).to_bytes(_LENGTH_BYTES, "little")
    return MAGIC + length + body + hashlib.sha256(body).digest()


def _read_header(file: io.BufferedReader, size: int) -> tuple[Header, int]:
    if file.read(len(MAGIC)) != MAGIC:
        raise _refused("it is not of this version")
    length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    if length > min(MAX_HEADER_BYTES, size):
        raise _refused("it is damaged")
    body, digest = file.read(length), file.read(_DIGEST_BYTES)
    if hashlib.sha256(body).digest() != digest:
        raise _refused("it is damaged")
    try:
        return msgspec.json.decode(body, type=Header), file.tell()
    except (msgspec.MsgspecError, RecursionError):
        raise _refused("it is not of this version") from None


def _check(header: Header, binding: Binding, states_bytes: int) -> None:
    for name in Binding.__struct_fields__:
        if getattr(header.binding, name) != getattr(binding, name):
            raise _refused(f"it is of {_DIFFERS[name]}")
    states, kept = header.states, header.kept
    sound = (
        0 < len(states) <= MAX_STATES
        and all(0 < each.count <= states[0].count <= len(kept.ids) for each in states)
        and all(0 < each.size_bytes <= states_bytes for each in states)
        and sum(each.size_bytes for each in states) == states_bytes
        and kept.is_sound
    )
    if not sound:
        raise _refused("it is damaged")


def _read_state(file: io.BufferedReader, state: StoredState) -> bytearray:
    data = bytearray(state.size_bytes)
    read = file.readinto(data)
    if read != len(data) or hashlib.sha256(data).hexdigest() != state.sha256:
        raise _refused("it is damaged")
    return data


def _refused(why: str) -> StateRefused:
    return StateRefused(
        f"the saved state of this conversation is not used: {why}",
        hint="The conversation is read again, which takes longer once.",
    )


def _sync_folder(folder: Path) -> None:
    """Make the new name durable, where the system opens folders."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
