"""Whatever engine opens it: files of any name, templates nobody should trust, small contexts."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from driving import done_of, notices_of, say, text_of
from onnx_folder import write_tiny
from tiny import TINY, with_template

from ondevice import errors
from ondevice.domain.generation import (
    GREEDY,
    EngineInfo,
    GenerationRequest,
    LoadOptions,
    Prompt,
)
from ondevice.domain.model import EngineName, ModelFile
from ondevice.domain.thinking import ThinkingStyle
from ondevice.engines.process import Deadlines, EngineProcess
from ondevice.gguf.shapes import write_shape

Load = Callable[..., EngineProcess]


@pytest.fixture(scope="module", params=["llama.cpp", "onnx"])
def engine_name(request: pytest.FixtureRequest) -> EngineName:
    name: EngineName = request.param
    return name


def write_model(engine: EngineName, path: Path, template: str | None) -> ModelFile:
    """A model of random weights that loads in milliseconds, with that template."""
    if engine == "onnx":
        write_tiny(path.with_name("written")).rename(path)
        if template is not None:
            (path / "chat_template.jinja").write_text(template)
    else:
        write_shape(TINY, "F16", path)
        if template is not None:
            path.write_bytes(with_template(path.read_bytes(), template))
    return ModelFile(path, engine, "the model")


class Loader:
    """Loads models of random weights, and ends their engines."""

    def __init__(self, engine: EngineName, folder: Path) -> None:
        self._name, self._folder = engine, folder
        self._numbers = itertools.count()
        self._engines: list[EngineProcess] = []
        self.info: EngineInfo | None = None

    def __call__(
        self,
        template: str | None = None,
        name: str | bytes | None = None,
        deadlines: Deadlines | None = None,
        **options: int,
    ) -> EngineProcess:
        path = self._folder / os.fsdecode(name or f"model-{next(self._numbers)}")
        file = write_model(self._name, path, template)
        engine = EngineProcess(self._name, deadlines)
        self._engines.append(engine)
        self.info = engine.load(file, LoadOptions(n_ctx=512, **options))
        return engine

    def close(self) -> None:
        for engine in self._engines:
            engine.close()


@pytest.fixture
def load(engine_name: EngineName, tmp_path: Path) -> Iterator[Loader]:
    loader = Loader(engine_name, tmp_path)
    yield loader
    loader.close()


@pytest.mark.parametrize("name", ["with space", "grüße 🙂", b"not \xff utf-8 \xc3"], ids=str)
def test_a_model_of_any_name_loads_and_answers(load: Loader, name: str | bytes) -> None:
    engine = load(name=name)
    assert done_of(say(engine, "hi", max_tokens=2, ignore_eos=True)).usage.completion_tokens == 2


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'a' * 3000000000 }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ raise_exception('only in Latin') }}",
        "{% for a in messages",
    ],
)
def test_a_template_that_fails_leaves_the_model_usable_without_it(
    load: Loader, template: str
) -> None:
    engine = load(template)
    with pytest.raises(errors.TemplateFailed, match=r"^the chat template "):
        say(engine, "hi")
    request = GenerationRequest(Prompt(text="hi"), GREEDY, max_tokens=2, ignore_eos=True)
    assert done_of(list(engine.generate(request))).usage.completion_tokens == 2


def test_a_template_that_never_ends_is_ended_at_the_deadline(load: Loader) -> None:
    loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    engine = load(loops, deadlines=Deadlines(prompt_s=0.3))
    with pytest.raises(errors.EngineTimedOut, match="render and tokenize"):
        say(engine, "hi")


def test_how_a_model_thinks_is_told_when_it_is_loaded(load: Loader) -> None:
    load("{{ '<think>' if true else '</think>' }}")
    assert load.info is not None
    assert load.info.thinking == ThinkingStyle(begun_by_prompt=True, stripped_by_template=True)


def test_a_system_message_that_is_refused_is_folded_and_told(load: Loader) -> None:
    refusing = "{% for m in messages %}{{ raise_exception('no') if m.role == 'system' }}"
    engine = load(refusing + "{{ m.content }}{% endfor %}")
    request = GenerationRequest(Prompt.chat("b", system="a"), max_tokens=1, ignore_eos=True)
    events = list(engine.generate(request))
    assert "system_folded" in notices_of(events)
    assert done_of(events).usage.prompt_tokens == len("a\n\nb")


def test_a_full_context_ends_the_answer_and_says_so(load: Loader) -> None:
    prompt = Prompt(tokens=tuple(number % 200 + 5 for number in range(502)))
    request = GenerationRequest(prompt, GREEDY, max_tokens=100, ignore_eos=True)
    done = done_of(list(load().generate(request)))
    assert (done.finish_reason, done.usage.completion_tokens) == ("context_full", 10)


def test_layers_asked_for_on_a_gpu_that_is_not_there_are_told(load: Loader) -> None:
    load(gpu_layers=99)
    assert load.info is not None
    told = "gpu_missing" in [notice.code for notice in load.info.notices]
    assert told == (load.info.backend == "cpu")


def test_random_text_is_valid_and_bounded_by_max_tokens(load: Loader) -> None:
    events = say(load(), "hi", max_tokens=50, ignore_eos=True)
    assert done_of(events).usage.completion_tokens == 50
    text_of(events).encode()
