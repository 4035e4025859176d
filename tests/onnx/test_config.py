"""genai_config.json: every key is known or refused, and nothing it says can do harm."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_folder import Shape, genai_config

from ondevice.domain.text import clean_line
from ondevice.errors import ModelTrouble, NotAModelFile, UnsupportedModel
from ondevice.onnx.cache import Cache
from ondevice.onnx.config import MAX_BYTES, GenaiConfig, parse

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def document() -> dict[str, Any]:
    return genai_config(Shape(), vocabulary=259, end=2)


def parsed(document: object) -> GenaiConfig:
    return parse(json.dumps(document).encode())


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    made = document()
    change(made)
    return made


def problem_of(document: object) -> str:
    """What is wrong with it, or nothing."""
    try:
        parsed(document)
    except ModelTrouble as error:
        return error.message
    return ""


def test_the_facts_are_those_of_the_document() -> None:
    assert parsed(document()) == GenaiConfig(
        model_type="llama",
        context=512,
        vocabulary=259,
        n_layers=1,
        n_kv_heads=1,
        head_size=32,
        width=64,
        end_tokens=(2,),
        model_file="model.onnx",
        key_input="past_key_values.%d.key",
        providers=(),
        cache=Cache(n_layers=1, row=64),
        logits_output="logits",
    )


@pytest.mark.parametrize(
    ("said", "cells", "layers"),
    [
        ({}, None, 0),
        ({"window_size": 64, "layers": [0, 2]}, 64, 0),
        ({"window_size": 64, "layers": [0, 2], "slide_key_value_cache": False}, 64, 2),
        (
            {
                "window_size": 64,
                "layers": [0, 2],
                "slide_key_value_cache": False,
                "cache_slack": 16,
            },
            80,
            2,
        ),
    ],
    ids=["none", "sliding", "beside others", "with some more"],
)
def test_layers_behind_a_window_keep_the_window(
    said: dict[str, Any], cells: int | None, layers: int
) -> None:
    made = document()
    made["model"]["decoder"] |= {"num_hidden_layers": 3} | (
        {"sliding_window": said} if said else {}
    )
    cache = parsed(made).cache
    assert (cache.window, cache.windowed_layers) == (cells, layers)
    assert cache.numbers(1000) == 64 * (1000 * (3 - layers) + (cells or 0) * layers)
    assert cache.numbers(50) == 64 * 50 * 3


def test_what_the_config_leaves_out_is_made_up_for() -> None:
    made = document()
    for key in ("num_attention_heads", "hidden_size"):
        del made["model"]["decoder"][key]
    found = parsed(made)
    assert found.width == 32


def test_several_end_tokens_windows_and_providers_are_read() -> None:
    made = document()
    made["model"]["eos_token_id"] = [7, 9]
    made["model"]["bos_token_id"] = None
    decoder = made["model"]["decoder"]
    decoder["sliding_window"] = {"window_size": 64, "layers": [0, 1], "slide_inputs": False}
    decoder["session_options"]["provider_options"] = [{"cuda": {"enable_cuda_graph": "0"}}]
    found = parsed(made)
    assert (found.end_tokens, found.cache.window, found.providers) == ((7, 9), 64, ("cuda",))


def test_an_end_token_beyond_the_vocabulary_is_not_told_to_the_library() -> None:
    made = document()
    made["model"]["eos_token_id"] = [made["model"]["vocab_size"] + 5, 7]
    assert parsed(made).end_tokens == (7,)


@pytest.mark.parametrize(
    ("where", "key", "value"),
    [
        ("", "engine", {}),
        ("model", "vision", {}),
        ("model", "type", "whisper"),
        ("model", "type", "decoder-pipeline"),
        ("model", "mtp", {"filename": "x.onnx"}),
        ("model.decoder", "pipeline", []),
        ("model.decoder", "run_options", {}),
        ("model.decoder", "shared_initializers", []),
        ("model.decoder.session_options", "custom_ops_library", "x.so"),
        ("model.decoder.session_options", "enable_profiling", "x"),
        ("model.decoder.session_options", "session.optimized_model_filepath", "/tmp/x"),
        (
            "model.decoder.session_options",
            "session.model_external_initializers_file_folder_path",
            "/",
        ),
        ("model.decoder.session_options", "ep.context_enable", "1"),
        ("model.decoder.session_options", "provider_options", [{"mine": {}}]),
        ("model.decoder.session_options", "provider_options", [{"qnn": {"backend_path": "x.so"}}]),
        ("search", "mystery", 1),
    ],
)
def test_what_is_not_known_is_refused_by_its_name(where: str, key: str, value: object) -> None:
    made = document()
    section = made
    for name in filter(None, where.split(".")):
        section = section[name]
    section[key] = value
    with pytest.raises(UnsupportedModel, match=r"^genai_config\.json: "):
        parsed(made)


@pytest.mark.parametrize(
    "text",
    [
        '{"model": {}, "model": {}}',
        '{"model": {"decoder": {"filename": "a", "filename": "b"}}}',
    ],
)
def test_a_key_that_stands_twice_is_refused(text: str) -> None:
    with pytest.raises(NotAModelFile, match="a key stands twice"):
        parse(text.encode())


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(model=[]),
        lambda d: d["model"].pop("decoder"),
        lambda d: d["model"].update(type=""),
        lambda d: d["model"].update(context_length=0),
        lambda d: d["model"].update(context_length=True),
        lambda d: d["model"].update(vocab_size=2**31),
        lambda d: d["model"].update(eos_token_id="2"),
        lambda d: d["model"].update(eos_token_id=d["model"]["vocab_size"]),
        lambda d: d["model"]["decoder"].update(num_hidden_layers=1_000_000),
        lambda d: d["model"]["decoder"].update(filename="x" * 300),
        lambda d: d["model"]["decoder"].update(filename="a\0b"),
        lambda d: d["model"]["decoder"]["inputs"].update(input_ids=3),
        lambda d: d["model"]["decoder"].update(sliding_window={"window_size": -1}),
        lambda d: d["model"]["decoder"]["session_options"].update(log_id=[]),
        lambda d: d["search"].update(top_k={}),
    ],
)
def test_a_value_that_is_not_what_it_must_be_is_named(
    change: Callable[[dict[str, Any]], object],
) -> None:
    with pytest.raises(NotAModelFile, match="is missing or not what it must be"):
        parsed(changed(change))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b"[" * 200_000,
        b" " * (MAX_BYTES + 1),
    ],
    ids=["empty", "half", "byte order mark", "utf-16", "nested", "too long"],
)
def test_what_is_no_json_is_named(data: bytes) -> None:
    with pytest.raises(NotAModelFile, match=r"^genai_config\.json is "):
        parse(data)


@given(JSON, st.sampled_from(["", "model", "model.decoder", "model.decoder.session_options"]))
def test_any_json_in_any_place_is_an_answer_or_an_error_on_one_line(
    value: object, where: str
) -> None:
    made: Any = document()
    section = made
    names = [name for name in where.split(".") if name]
    for name in names[:-1]:
        section = section[name]
    if names:
        section[names[-1]] = value
    else:
        made = value
    problem = problem_of(made)
    assert problem == clean_line(problem)
