"""Answers under a JSON schema: all of them keep to it, and no schema harms the engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from driving import done_of, notices_of, text_of
from hypothesis import given, settings
from hypothesis import strategies as st
from validating import is_valid

from ondevice import errors
from ondevice.domain.generation import (
    GREEDY,
    GenerationEvent,
    GenerationRequest,
    LoadOptions,
    Prompt,
    Sampling,
)
from ondevice.domain.model import ModelFile
from ondevice.engines.llamacpp import schema as schemas
from ondevice.engines.process import Deadlines, EngineProcess

QUESTION = Prompt.chat("Describe a city.")
CITY = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 24},
        "kind": {"enum": ["large", 'so "called"', "a\\b", "grüße", 7, None]},
        "near": {"type": "array", "items": {"$ref": "#/$defs/string"}, "maxItems": 3},
        "code": {"type": "string", "pattern": "^[A-Z]{2,3}-[0-9]+$"},
        "size": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
        "string": {"$ref": "#/$defs/other"},
    },
    "required": ["name", "kind", "near", "code", "string"],
    "additionalProperties": False,
    "$defs": {
        "string": {"type": "string", "maxLength": 12},
        "other": {"type": "array", "items": {"$ref": "#/$defs/other"}, "maxItems": 1},
    },
}
LONGEST = 220


def answer(engine: EngineProcess, schema: object, sampling: Sampling) -> list[GenerationEvent]:
    request = GenerationRequest(QUESTION, sampling, LONGEST, schema=json.dumps(schema))
    return list(engine.generate(request))


@pytest.mark.parametrize("seed", [None, *range(20)], ids=lambda seed: f"seed {seed}")
def test_every_answer_parses_and_keeps_to_the_schema(
    starter: EngineProcess, seed: int | None
) -> None:
    sampling = GREEDY if seed is None else Sampling(temperature=1.5, repeat_penalty=1.1, seed=seed)
    events = answer(starter, CITY, sampling)
    assert done_of(events).finish_reason == "stop"
    assert is_valid(json.loads(text_of(events)), CITY, CITY)


def test_a_choice_that_fits_is_the_models_own(starter: EngineProcess) -> None:
    """The grammar is asked about what was chosen, and changes nothing where that fits."""
    prompt = Prompt(text=">>> list(range(5))\n[0, 1, 2, 3, 4]\n>>> list(range(4))\n")
    schema = {"type": "array", "items": {"type": "integer"}}
    free = text_of(starter.generate(GenerationRequest(prompt, GREEDY, 12)))
    request = GenerationRequest(prompt, GREEDY, 12, schema=json.dumps(schema))
    held = text_of(starter.generate(request))
    assert free.startswith("[")
    assert held.startswith(free[: free.find("]")])


def test_what_the_grammar_does_not_hold_is_told(starter: EngineProcess) -> None:
    partly = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 5}}}
    events = answer(starter, partly, GREEDY)
    assert "schema" in notices_of(events)
    assert "schema" not in notices_of(answer(starter, CITY, GREEDY))


@pytest.mark.parametrize(
    ("schema", "unheld"),
    [
        pytest.param({"type": "integer", "maximum": 5}, ["maximum"], id="a bound"),
        pytest.param(
            {"anyOf": [{"type": "string"}], "maxLength": 3}, ["maxLength"], id="beside a choice"
        ),
        pytest.param(
            {"type": "object", "properties": {}, "required": ["x"]}, ["required x"], id="unnamed"
        ),
        pytest.param(
            {"type": "array", "items": {"type": "array", "uniqueItems": True}},
            ["uniqueItems"],
            id="further in",
        ),
        pytest.param({"type": "string", "format": "email"}, ["format"], id="a format"),
        pytest.param({"type": "string", "title": "T", "$id": "x"}, [], id="words about it"),
        pytest.param(CITY, [], id="all of it held"),
    ],
)
def test_every_keyword_that_is_not_held_is_named(schema: dict[str, Any], unheld: list[str]) -> None:
    assert list(schemas._unheld(schema)) == unheld


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


REFUSED = {
    "no object": "[]",
    "no JSON": "{",
    "too deep for a reader": "[" * 200_000,
    "too deep": json.dumps(nested(60)),
    "too large": json.dumps({"enum": ["x" * 300_000]}),
    "an unknown type": '{"type": "thing"}',
    "another document": '{"$ref": "https://example.com/s.json"}',
    "a file": '{"$ref": "file:///etc/passwd"}',
    "a reference to nothing": '{"$ref": "#/$defs/x"}',
    "a reference to itself": '{"$ref": "#/$defs/x", "$defs": {"x": {"$ref": "#/$defs/x"}}}',
    "too many items": '{"type": "array", "items": {"type": "null"}, "maxItems": 1000000000}',
    "too many signs": '{"type": "string", "minLength": 1000000000}',
    "a pattern that repeats without end": '{"type": "string", "pattern": "^a{999999999}$"}',
    "a pattern of any sign": '{"type": "string", "pattern": "^.*$"}',
    "a pattern of classes": '{"type": "string", "pattern": "^\\\\d+$"}',
    "a pattern without ends": '{"type": "string", "pattern": "a"}',
    "half a pattern": '{"type": "string", "pattern": "^(($"}',
    "properties that are none": '{"properties": 7}',
    "a choice of nothing": '{"anyOf": 7}',
    "a required that is none": '{"properties": {}, "required": 7}',
    "many optional properties": json.dumps(
        {"properties": {f"p{n}": {"type": "null"} for n in range(3000)}}
    ),
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_a_schema_that_cannot_be_used_is_one_line_and_the_engine_goes_on(
    starter: EngineProcess, text: str
) -> None:
    request = GenerationRequest(QUESTION, GREEDY, 4, schema=text)
    with pytest.raises(errors.SchemaRefused) as caught:
        list(starter.generate(request))
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 300
    assert text_of(starter.generate(GenerationRequest(QUESTION, GREEDY, 4)))


def test_a_schema_without_end_is_ended_at_the_deadline(starter_path: Path) -> None:
    """Each level doubles the ways to go on, so llama.cpp would look at a billion."""
    levels = {
        f"x{n}": {"anyOf": [{"$ref": f"#/$defs/x{n + 1}"}, {"$ref": f"#/$defs/x{n + 1}"}]}
        for n in range(40)
    }
    schema = {"$ref": "#/$defs/x0", "$defs": levels | {"x40": {"type": "null"}}}
    engine = EngineProcess("llama.cpp", Deadlines(prompt_s=1.0))
    engine.load(ModelFile(starter_path, "llama.cpp", "starter"), LoadOptions(n_ctx=512))
    with pytest.raises(errors.EngineTimedOut, match="and read the schema within 1 s"):
        answer(engine, schema, GREEDY)
    engine.close()


SCHEMAS = st.recursive(
    st.sampled_from(
        [
            {"type": "null"},
            {"type": "boolean"},
            {"type": "string", "maxLength": 5},
            {"enum": ["a", 'q"', "b\\", "\n", 1, False]},
            {"type": "string", "pattern": "^[a-c]{1,3}$"},
        ]
    ),
    lambda inner: st.one_of(
        st.builds(lambda items: {"type": "array", "items": items, "maxItems": 2}, inner),
        st.builds(lambda each: {"anyOf": each}, st.lists(inner, min_size=1, max_size=2)),
        st.builds(
            lambda properties: {
                "type": "object",
                "properties": properties,
                "required": list(properties)[:1],
                "additionalProperties": False,
            },
            st.dictionaries(st.sampled_from(["a", "root", "char", 'q"', "é "]), inner, max_size=3),
        ),
    ),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def small(gemma_path: Path) -> Any:
    """Another tokenizer, of bytes and blanks, and four times the vocabulary."""
    engine = EngineProcess("llama.cpp")
    engine.load(ModelFile(gemma_path, "llama.cpp", "gemma"), LoadOptions(n_ctx=512))
    yield engine
    engine.close()


@given(schema=SCHEMAS, seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=15)
def test_whatever_the_schema_the_answer_keeps_to_it(
    small: EngineProcess, schema: dict[str, Any], seed: int
) -> None:
    request = GenerationRequest(
        Prompt(text="JSON: "), Sampling(temperature=2, seed=seed), 200, schema=json.dumps(schema)
    )
    events = list(small.generate(request))
    assert done_of(events).finish_reason == "stop"
    assert is_valid(json.loads(text_of(events)), schema, schema)
