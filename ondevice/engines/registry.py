"""Engines by name, imported only when asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

from ondevice.engines.base import Engine
from ondevice.errors import EngineMissing

_FACTORIES = {
    "llama.cpp": "ondevice.engines.llamacpp:LlamaCppEngine",
    "onnx": "ondevice.engines.onnx:OnnxEngine",
    "echo": "ondevice.engines.echo:EchoEngine",
}


NAMES = ("llama.cpp", "onnx")
"""Engines that run models; the echo engine runs none."""


def create(name: str) -> Engine:
    """A new engine in this process. Only the child's worker should call it for native ones."""
    if name not in _FACTORIES:
        raise EngineMissing(f"no engine called {name}", hint=f"There are: {', '.join(_FACTORIES)}.")
    module, _, factory = _FACTORIES[name].partition(":")
    try:
        make = cast(Callable[[], Engine], getattr(import_module(module), factory))
        return make()
    except (ImportError, OSError, RuntimeError) as error:
        raise EngineMissing(
            f"the {name} engine does not load: {error}", hint="`ondevice doctor` says what to do."
        ) from error


def in_child(name: str) -> Engine:
    """The engine `name` in a process of its own."""
    # deferred: the child itself needs no parent side
    from ondevice.engines.process import EngineProcess

    return EngineProcess(name)
