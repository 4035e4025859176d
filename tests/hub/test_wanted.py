"""Which form is meant: by quantization, engine and path, and by a name on a hub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from loopback import REPOSITORY, Loopback
from upkeeping import FILE

from ondevice.domain.model import FileSpec, ModelSpec
from ondevice.errors import NotOnHub, UnknownModel, UsageTrouble
from ondevice.hub import wanted
from ondevice.hub.remote import Hub


@pytest.fixture
def hub(loopback: Loopback) -> Iterator[Hub]:
    with Hub(loopback.address, read_s=2.0) as hub:
        yield hub


def entry(*files: FileSpec) -> ModelSpec:
    return ModelSpec("some-model", "f", "T", "chat", 1, 1, 512, "MIT", None, False, None, files)


class TestTheForm:
    FILES = (
        replace(FILE, engine="onnx", quantization="int4", path="cpu"),
        replace(FILE, quantization="Q4_K_M"),
        replace(FILE, quantization="Q8_0"),
    )

    def test_is_the_first_that_an_engine_opens(self) -> None:
        assert wanted.choose(entry(*self.FILES)).engine == "onnx"
        part = replace(self.FILES[0], path="cpu/model.onnx")
        assert wanted.choose(entry(part, *self.FILES[1:])).quantization == "Q4_K_M"

    def test_is_the_first_of_all_where_none_is_opened(self) -> None:
        part = replace(self.FILES[0], path="cpu/model.onnx")
        assert wanted.choose(entry(part)) == part

    @pytest.mark.parametrize(
        ("quantization", "engine", "index"),
        [("q8_0", None, 2), (None, "onnx", 0), ("int4", "onnx", 0), ("Q8_0", "llama.cpp", 2)],
    )
    def test_can_be_asked_for(
        self, quantization: str | None, engine: str | None, index: int
    ) -> None:
        assert wanted.choose(entry(*self.FILES), quantization, engine) == self.FILES[index]

    def test_that_is_not_there_is_named_with_those_that_are(self) -> None:
        with pytest.raises(UsageTrouble, match="has no Q2_K onnx") as raised:
            wanted.choose(entry(*self.FILES), "Q2_K", "onnx")
        assert raised.value.hint == "It has int4 (onnx), Q4_K_M (llama.cpp), Q8_0 (llama.cpp)."

    def test_alike_in_engine_and_quantization_are_told_apart_by_their_paths(self) -> None:
        old, new = replace(FILE, path="old/m.gguf"), replace(FILE, path="new/m.gguf")
        alike = entry(old, new, replace(FILE, quantization="Q8_0"))
        assert wanted.choose(alike, path="new/m.gguf") == new
        with pytest.raises(UsageTrouble) as raised:
            wanted.choose(alike, "Q2_K")
        apart = "Q4_0 (llama.cpp) old/m.gguf, Q4_0 (llama.cpp) new/m.gguf, Q8_0 (llama.cpp)"
        assert raised.value.hint == f"It has {apart}."


class TestANameOnTheHub:
    def test_is_told_from_other_names(self, hub: Hub) -> None:
        for name in ("x", "./x/y", "/x/y", "a/b/c.py", "a/b/../c.gguf", "a--b/c", "~/x/y.gguf"):
            with pytest.raises(UnknownModel):
                wanted.on_hub(hub, name)

    def test_without_a_usable_file_is_refused(self, loopback: Loopback, hub: Hub) -> None:
        loopback.offer(b"x", "README.md")
        with pytest.raises(NotOnHub, match="no GGUF file and no ONNX folder"):
            wanted.on_hub(hub, REPOSITORY)
