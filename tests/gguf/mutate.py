"""Broken and hostile versions of a small GGUF file, each with a name that says what was done.

The file is taken apart into its fields and put together again, so a mutation changes exactly what
its name says and everything after it stays where the header says it is.

Longer than 300 lines because it is one list, read as a whole.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

_SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_UINT32, _INT32, _FLOAT32, _STRING, _ARRAY, _INT64, _FLOAT64 = 4, 5, 6, 8, 9, 11, 12
_ALIGNMENT = 32
_HUGE = {"2^31": 2**31, "2^32-1": 2**32 - 1, "2^63": 2**63, "2^64-1": 2**64 - 1}


@dataclass(frozen=True)
class Pair:
    """A metadata entry; `value` is encoded and follows the type."""

    key: bytes
    kind: int
    value: bytes


@dataclass(frozen=True)
class Tensor:
    """An entry of the tensor table."""

    name: bytes
    dimensions: tuple[int, ...]
    kind: int
    offset: int


@dataclass(frozen=True)
class Parts:
    """A whole file."""

    pairs: tuple[Pair, ...]
    tensors: tuple[Tensor, ...]
    weights: bytes
    version: int = 3
    n_pairs: int | None = None
    n_tensors: int | None = None
    """What the header announces where that is not the truth."""

    def header(self) -> bytes:
        """The file up to the weights, without padding."""
        out = [b"GGUF", struct.pack("<I", self.version)]
        for lie, truth in ((self.n_tensors, self.tensors), (self.n_pairs, self.pairs)):
            out.append(struct.pack("<Q", len(truth) if lie is None else lie))
        out += [_text(pair.key) + struct.pack("<I", pair.kind) + pair.value for pair in self.pairs]
        for tensor in self.tensors:
            out.append(_text(tensor.name) + struct.pack("<I", len(tensor.dimensions)))
            out.append(struct.pack(f"<{len(tensor.dimensions)}Q", *tensor.dimensions))
            out.append(struct.pack("<IQ", tensor.kind, tensor.offset))
        return b"".join(out)

    def data(self) -> bytes:
        """The whole file."""
        header = self.header()
        return header + bytes(-len(header) % _ALIGNMENT) + self.weights

    def put(self, key: str, kind: int, value: bytes) -> Parts:
        """With `key` set to a value, in its place or at the end."""
        new = Pair(key.encode(), kind, value)
        if any(pair.key == new.key for pair in self.pairs):
            pairs = tuple(new if pair.key == new.key else pair for pair in self.pairs)
        else:
            pairs = (*self.pairs, new)
        return replace(self, pairs=pairs)

    def without(self, key: bytes) -> Parts:
        """Without the entry `key`."""
        return replace(self, pairs=tuple(pair for pair in self.pairs if pair.key != key))

    def with_tensor(self, index: int, tensor: Tensor) -> Parts:
        """With another entry at `index` of the tensor table."""
        tensors = list(self.tensors)
        tensors[index] = tensor
        return replace(self, tensors=tuple(tensors))


def take_apart(data: bytes) -> Parts:
    """The parts of a valid little-endian file of version 2 or 3."""
    version, n_tensors, n_pairs = struct.unpack_from("<IQQ", data, 4)
    at, pairs, tensors = 24, [], []
    for _ in range(n_pairs):
        key, at = _read_text(data, at)
        kind = struct.unpack_from("<I", data, at)[0]
        end = _value_end(data, at + 4, kind)
        pairs.append(Pair(key, kind, data[at + 4 : end]))
        at = end
    for _ in range(n_tensors):
        name, at = _read_text(data, at)
        n_dims = struct.unpack_from("<I", data, at)[0]
        *dimensions, kind, offset = struct.unpack_from(f"<{n_dims}QIQ", data, at + 4)
        tensors.append(Tensor(name, tuple(dimensions), kind, offset))
        at += 4 + 8 * n_dims + 12
    weights = data[at + -at % _ALIGNMENT :]
    return Parts(tuple(pairs), tuple(tensors), weights, version)


def mutations(data: bytes, seed: int) -> Iterator[tuple[str, bytes]]:
    """Every mutation of `data`, a small valid file; `seed` decides the random ones."""
    rng = random.Random(seed)
    parts = take_apart(data)
    yield from _flipped(data, len(parts.header()), rng)
    yield from _cut(data, len(parts.header()), rng)
    for source in (_counts, _keys, _types, _sizes, _layers, _tokenizers, _templates, _tensors):
        for name, broken in source(parts):
            yield name, broken.data()
    yield "weights-all-ones", replace(parts, weights=b"\xff" * len(parts.weights)).data()
    yield "random-bytes", rng.randbytes(4096)
    yield "magic-then-random-bytes", b"GGUF\x03\0\0\0" + rng.randbytes(4096)


def _flipped(data: bytes, header: int, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    for count in (1,) * 150 + (8,) * 50:
        broken = bytearray(data)
        places = sorted(rng.randrange(header) for _ in range(count))
        for place in places:
            broken[place] ^= 1 << rng.randrange(8)
        yield f"bits-flipped-at-{'-'.join(map(str, places))}", bytes(broken)


def _cut(data: bytes, header: int, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    places = {0, 3, 4, 8, 23, 24, 32, header // 2, header - 1, header, len(data) - 64}
    places |= {rng.randrange(len(data)) for _ in range(20)}
    for place in sorted(places):
        yield f"cut-at-{place}", data[:place]


def _counts(parts: Parts) -> Iterator[tuple[str, Parts]]:
    for name, value in {"0": 0, "1": 1, "2^20": 2**20, **_HUGE}.items():
        yield f"tensor-count-{name}", replace(parts, n_tensors=value)
        yield f"pair-count-{name}", replace(parts, n_pairs=value)
    for version in (0, 1, 2, 4, 3 << 24, 2**32 - 1):
        yield f"version-{version}", replace(parts, version=version)
    extra = tuple(
        Pair(f"filler.{index}".encode(), _UINT32, struct.pack("<I", index))
        for index in range(30_000)
    )
    yield "30000-pairs", replace(parts, pairs=parts.pairs + extra)


def _keys(parts: Parts) -> Iterator[tuple[str, Parts]]:
    for pair in parts.pairs:
        yield f"without-{pair.key.decode()}", parts.without(pair.key)
    first = parts.pairs[0]
    yield "key-twice", replace(parts, pairs=(*parts.pairs, first))
    for name, key in {
        "empty": b"",
        "long": b"k" * 70_000,
        "not-utf8": b"\xff\xfe",
        "escape-sequence": b"\x1b]52;c;AAAA\x07",
    }.items():
        odd = Pair(key, _UINT32, struct.pack("<I", 1))
        yield f"key-{name}", replace(parts, pairs=(*parts.pairs, odd))


def _types(parts: Parts) -> Iterator[tuple[str, Parts]]:
    for pair in parts.pairs:
        key = pair.key.decode()
        for kind in (13, 255, 2**32 - 1):
            yield f"type-{kind}-of-{key}", parts.put(key, kind, pair.value)
        if pair.kind != _STRING:
            yield f"text-for-{key}", parts.put(key, _STRING, _text(b"text"))
        if pair.kind != _UINT32:
            yield f"number-for-{key}", parts.put(key, _UINT32, struct.pack("<I", 7))
    for name, value in _HUGE.items():
        length = struct.pack("<Q", value)
        yield f"string-length-{name}", parts.put("odd", _STRING, length)
        for kind in (_UINT32, _STRING):
            yield (
                f"array-length-{name}-of-{kind}",
                parts.put("odd", _ARRAY, struct.pack("<I", kind) + length),
            )
    nested = struct.pack("<IQ", _ARRAY, 1) * 1000 + struct.pack("<IQ", _UINT32, 0)
    yield "arrays-nested-1000-deep", parts.put("odd", _ARRAY, nested)
    yield "array-of-type-99", parts.put("odd", _ARRAY, struct.pack("<IQ", 99, 1))
    yield "bool-2", parts.put("odd", 7, b"\x02")


def _sizes(parts: Parts) -> Iterator[tuple[str, Parts]]:
    numbers = {
        "block_count": (0, 1, 513, 2**32 - 1),
        "context_length": (0, 2**32 - 1),
        "embedding_length": (0, 63, 2**31),
        "feed_forward_length": (0, 2**31),
        "attention.head_count": (0, 3, 2**31),
        "attention.head_count_kv": (0, 3, 2**31),
        "rope.dimension_count": (0, 17, 2**31),
        "vocab_size": (0, 2**31),
        "expert_count": (8, 2**31),
    }
    for key, values in numbers.items():
        for value in values:
            yield f"{key}={value}", parts.put(f"llama.{key}", _UINT32, struct.pack("<I", value))
    for key in ("attention.layer_norm_rms_epsilon", "rope.freq_base", "rope.scaling.factor"):
        for number in (float("nan"), float("inf"), -1.0, 0.0):
            packed = struct.pack("<f", number)
            yield f"{key}={number}", parts.put(f"llama.{key}", _FLOAT32, packed)
    for architecture in ("", "nosuch", "mamba", "clip", "llama\x00"):
        text = _text(architecture.encode())
        yield f"architecture={architecture!r}", parts.put("general.architecture", _STRING, text)
    for alignment in (0, 1, 3, 64, 2**31):
        packed = struct.pack("<I", alignment)
        yield f"alignment={alignment}", parts.put("general.alignment", _UINT32, packed)


def _layers(parts: Parts) -> Iterator[tuple[str, Parts]]:
    """Sizes that memory is reckoned from, as no file has them."""
    for name in ("shared_kv_layers", "value_length", "sliding_window", "sliding_window_pattern"):
        key = f"llama.attention.{name}"
        for kind, form, value in (
            (_INT32, "<i", -1),
            (_INT32, "<i", -1_000_000),
            (_INT64, "<q", -(2**63)),
            (_INT64, "<q", 2**62),
            (_FLOAT64, "<d", 1e300),
        ):
            yield f"{name}={value}", parts.put(key, kind, struct.pack(form, value))
    for name in ("attention.head_count_kv", "attention.sliding_window_pattern"):
        values = struct.pack("<IQ2i", _INT32, 2, -5, 1)
        yield f"{name}=[-5, 1]", parts.put(f"llama.{name}", _ARRAY, values)


def _tokenizers(parts: Parts) -> Iterator[tuple[str, Parts]]:
    tokens = "tokenizer.ggml.tokens"
    for name, texts in {
        "none": [],
        "one": [b"a"],
        "all-empty": [b""] * 512,
        "all-equal": [b"same"] * 512,
        "not-utf8": [bytes([255, index % 256, index // 256]) for index in range(512)],
        "one-of-1MB": [b"t" * 2**20, *(f"w{index}".encode() for index in range(511))],
        "more-than-rows": [f"w{index}".encode() for index in range(600)],
    }.items():
        yield f"tokens-{name}", parts.put(tokens, _ARRAY, _texts(texts))
    for key in ("bos_token_id", "eos_token_id", "padding_token_id"):
        for value in (512, 2**31, 2**32 - 1):
            packed = struct.pack("<I", value)
            yield f"{key}={value}", parts.put(f"tokenizer.ggml.{key}", _UINT32, packed)
    types = struct.pack("<IQi", 5, 1, 1)
    yield "token-types-too-few", parts.put("tokenizer.ggml.token_type", _ARRAY, types)
    for merges in ([], [b""], [b"ab"], [b" "], [b"a b c"], [b"\xff \xff"]):
        yield f"merges={merges}", parts.put("tokenizer.ggml.merges", _ARRAY, _texts(merges))
    for model in ("", "nosuch", "llama", "bert", "t5", "rwkv", "none"):
        text = _text(model.encode())
        yield f"tokenizer={model!r}", parts.put("tokenizer.ggml.model", _STRING, text)
    yield "pre-tokenizer-unknown", parts.put("tokenizer.ggml.pre", _STRING, _text(b"nosuch"))


def _templates(parts: Parts) -> Iterator[tuple[str, Parts]]:
    for name, template in {
        "looping": "{% for i in range(10**9) %}{% for j in range(10**9) %}x"
        "{% endfor %}{% endfor %}",
        "doubling": "{% set ns = namespace(s='x') %}"
        "{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
        "power": "{{ 9 ** 9 ** 9 }}",
        "unclosed": "{% for message in messages %}",
        "nested": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "escaping": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "raising": "{{ raise_exception('no') }}",
        "undefined": "{{ nothing.at.all }}",
        "empty": "",
        "2MB": "x" * 2 * 2**20,
        "escape-sequence": "\x1b]52;c;AAAA\x07{{ messages[0]['content'] }}",
    }.items():
        text = _text(template.encode())
        yield f"template-{name}", parts.put("tokenizer.chat_template", _STRING, text)


def _tensors(parts: Parts) -> Iterator[tuple[str, Parts]]:
    index = len(parts.tensors) // 2
    tensor = parts.tensors[index]
    for name, broken in {
        "offset-of-another": replace(tensor, offset=parts.tensors[index - 1].offset),
        "offset-overlapping": replace(tensor, offset=tensor.offset - _ALIGNMENT),
        "offset-misaligned": replace(tensor, offset=tensor.offset + 1),
        "offset-beyond-the-file": replace(tensor, offset=2**40),
        "offset-2^64-32": replace(tensor, offset=2**64 - 32),
        "without-dimensions": replace(tensor, dimensions=()),
        "with-5-dimensions": replace(tensor, dimensions=(32, 1, 1, 1, 1)),
        "with-1000-dimensions": replace(tensor, dimensions=(1,) * 1000),
        "of-no-rows": replace(tensor, dimensions=(64, 0)),
        "of-2^64-values": replace(tensor, dimensions=(2**32, 2**32)),
        "of-2^63-rows": replace(tensor, dimensions=(32, 2**63)),
        "of-odd-rows": replace(tensor, dimensions=(33, 3)),
        "of-another-shape": replace(tensor, dimensions=(*tensor.dimensions[::-1], 1)),
        "of-type-4": replace(tensor, kind=4),
        "of-type-99": replace(tensor, kind=99),
        "of-type-2^32-1": replace(tensor, kind=2**32 - 1),
        "of-type-F32": replace(tensor, kind=0),
        "renamed": replace(tensor, name=b"stranger.weight"),
        "without-name": replace(tensor, name=b""),
        "name-twice": replace(tensor, name=parts.tensors[0].name),
        "name-of-64-bytes": replace(tensor, name=b"n" * 64),
        "name-of-1MB": replace(tensor, name=b"n" * 2**20),
    }.items():
        yield f"tensor-{name}", parts.with_tensor(index, broken)
    yield "tensor-missing", replace(parts, tensors=parts.tensors[:-1])
    yield "tensors-reversed", replace(parts, tensors=parts.tensors[::-1])
    yield "no-tensors", replace(parts, tensors=(), weights=b"")


def _text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def _texts(values: list[bytes]) -> bytes:
    return struct.pack("<IQ", _STRING, len(values)) + b"".join(map(_text, values))


def _read_text(data: bytes, at: int) -> tuple[bytes, int]:
    end = at + 8 + struct.unpack_from("<Q", data, at)[0]
    return data[at + 8 : end], end


def _value_end(data: bytes, at: int, kind: int) -> int:
    if kind == _STRING:
        return _read_text(data, at)[1]
    if kind != _ARRAY:
        return at + _SCALAR_BYTES[kind]
    item, count = struct.unpack_from("<IQ", data, at)
    at += 12
    if item != _STRING:
        return int(at + _SCALAR_BYTES[item] * count)
    for _ in range(count):
        at = _read_text(data, at)[1]
    return at
