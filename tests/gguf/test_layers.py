"""What a header says of a model's layers below zero is as if it did not say it."""

from __future__ import annotations

import io
import struct

import estimates
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutate import Parts

from ondevice import fit
from ondevice.domain.fit import MemoryVerdict
from ondevice.errors import NotAModelFile
from ondevice.gguf.header import header_from

Entry = tuple[int, bytes]
"""A type of the format, and a value."""
ARCHITECTURES = (
    "falcon-h1", "gemma3", "gpt-oss", "lfm2", "llama", "mamba", "phi3", "qwen3next", "rwkv7",
)  # fmt: skip
"""At least one for each way a state is kept."""
KEYS = (
    "attention.head_count", "attention.head_count_kv", "attention.key_length",
    "attention.key_length_mla", "attention.key_length_swa", "attention.recurrent_layers",
    "attention.shared_kv_layers", "attention.sliding_window", "attention.sliding_window_pattern",
    "attention.value_length", "attention.value_length_swa", "block_count", "context_length",
    "embedding_length", "expert_feed_forward_length", "expert_used_count", "feed_forward_length",
    "full_attention_interval", "shortconv.l_cache", "ssm.conv_kernel", "ssm.group_count",
    "ssm.inner_size", "ssm.state_size", "token_shift_count", "vocab_size", "wkv.head_size",
)  # fmt: skip


def number(value: int) -> Entry:
    return 11, struct.pack("<q", value)


def row(*values: int) -> Entry:
    return 9, struct.pack(f"<IQ{len(values)}q", 11, len(values), *values)


def verdict(architecture: str = "llama", **said: Entry) -> MemoryVerdict | None:
    """Of a header that says so, a dot written as two underscores; it has no tensors."""
    usual = {"block_count": number(6), "embedding_length": number(64)}
    usual |= {"attention__head_count": number(4), "attention__head_count_kv": number(2)}
    name = architecture.encode()
    parts = Parts((), (), b"").put("general.architecture", 8, struct.pack("<Q", len(name)) + name)
    for key, entry in (usual | said).items():
        parts = parts.put(f"{architecture}.{key.replace('__', '.')}", *entry)
    data = parts.data()
    return fit.verdict_of(header_from(io.BytesIO(data), len(data)), 1 << 20, estimates.MACHINE)


@pytest.mark.parametrize("value", [-1, -1_000_000, -(2**63)])
@pytest.mark.parametrize(
    "key", ["attention__shared_kv_layers", "attention__value_length", "attention__sliding_window"]
)
def test_a_number_below_zero_is_not_said(key: str, value: int) -> None:
    assert verdict("gemma3", **{key: number(1)}) != verdict("gemma3")
    assert verdict("gemma3", **{key: number(value)}) == verdict("gemma3")


def test_a_row_with_a_number_below_zero_is_not_said() -> None:
    usual = {"attention__sliding_window": number(128)}
    some, odd = (
        usual | {"attention__sliding_window_pattern": row(0, 0, 0, 0, 0, mark)} for mark in (1, -1)
    )
    assert verdict("gemma3", **some) != verdict("gemma3", **usual)
    assert verdict("gemma3", **odd) == verdict("gemma3", **usual)


def test_more_shared_layers_than_there_are_leave_none() -> None:
    found = verdict(attention__shared_kv_layers=number(2**62))
    assert found is not None
    assert found.estimate.kv_bytes == 0


ENTRIES = st.one_of(
    st.sampled_from([-(2**63), -1, 0, 1, 2**39, 2**62]).map(number),
    st.integers(-(2**63), 2**63 - 1).map(number),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=8).map(lambda values: row(*values)),
    st.floats(allow_nan=False).map(lambda value: (12, struct.pack("<d", value))),
)


@given(
    architecture=st.sampled_from(ARCHITECTURES),
    said=st.dictionaries(st.sampled_from(KEYS), ENTRIES, min_size=1, max_size=6),
)
def test_whatever_is_said_no_term_is_below_zero(architecture: str, said: dict[str, Entry]) -> None:
    try:
        found = verdict(architecture, **{key.replace(".", "__"): said[key] for key in said})
    except NotAModelFile:
        return
    estimates.hold(found)
