"""The C interface of onnxruntime-genai, through ctypes.

Its Python classes hold the interpreter's lock while they compute, so that a cancel could not be
obeyed before a whole prompt is read. A foreign call through ctypes lets it go. The package's
`__init__` loads those classes, so it is stepped over: an empty module of its name gets its search
path, and only its part that finds ONNX Runtime is imported.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from ctypes import POINTER, c_bool, c_char_p, c_double, c_int32, c_size_t, c_void_p
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from ondevice.errors import EngineMissing

PACKAGES = {
    "onnxruntime-genai-cuda": "cuda",
    "onnxruntime-genai-directml": "dml",
    "onnxruntime-genai": "cpu",
}
"""Distributions of the one package `onnxruntime_genai`, and what they were built for. All own the
same files, so one of them alone should be installed (docs/onnx-on-a-gpu.md)."""
_HANDLE = POINTER(c_void_p)
_FALLIBLE: dict[str, list[Any]] = {
    "OgaCreateConfig": [c_char_p, _HANDLE],
    "OgaConfigClearProviders": [c_void_p],
    "OgaConfigAppendProvider": [c_void_p, c_char_p],
    "OgaConfigOverlay": [c_void_p, c_char_p],
    "OgaCreateModelFromConfig": [c_void_p, _HANDLE],
    "OgaModelGetDeviceType": [c_void_p, _HANDLE],
    "OgaCreateTokenizer": [c_void_p, _HANDLE],
    "OgaUpdateTokenizerOptions": [c_void_p, POINTER(c_char_p), POINTER(c_char_p), c_size_t],
    "OgaTokenizerEncode": [c_void_p, c_char_p, c_void_p],
    "OgaCreateSequences": [_HANDLE],
    "OgaCreateGeneratorParams": [c_void_p, _HANDLE],
    "OgaGeneratorParamsSetSearchNumber": [c_void_p, c_char_p, c_double],
    "OgaGeneratorParamsSetSearchBool": [c_void_p, c_char_p, c_bool],
    "OgaCreateGenerator": [c_void_p, c_void_p, _HANDLE],
    "OgaGenerator_AppendTokens": [c_void_p, POINTER(c_int32), c_size_t],
    "OgaGenerator_RewindTo": [c_void_p, c_size_t],
    "OgaGenerator_SetRuntimeOption": [c_void_p, c_char_p, c_char_p],
    "OgaGenerator_GetLogits": [c_void_p, _HANDLE],
    "OgaGenerator_GetOutput": [c_void_p, c_char_p, _HANDLE],
    "OgaTensorGetData": [c_void_p, _HANDLE],
    "OgaTensorGetType": [c_void_p, POINTER(c_int32)],
    "OgaTensorGetShapeRank": [c_void_p, POINTER(c_size_t)],
    "OgaTensorGetShape": [c_void_p, POINTER(ctypes.c_int64), c_size_t],
}
"""What answers with an error or nothing, and its parameters."""
_OTHER: dict[str, tuple[Any, list[Any]]] = {
    "OgaResultGetError": (c_char_p, [c_void_p]),
    "OgaDestroyResult": (None, [c_void_p]),
    "OgaDestroyString": (None, [c_void_p]),
    "OgaDestroyConfig": (None, [c_void_p]),
    "OgaDestroyModel": (None, [c_void_p]),
    "OgaDestroyTokenizer": (None, [c_void_p]),
    "OgaDestroySequences": (None, [c_void_p]),
    "OgaDestroyGeneratorParams": (None, [c_void_p]),
    "OgaDestroyGenerator": (None, [c_void_p]),
    "OgaDestroyTensor": (None, [c_void_p]),
    "OgaSequencesGetSequenceCount": (c_size_t, [c_void_p, c_size_t]),
    "OgaSequencesGetSequenceData": (POINTER(c_int32), [c_void_p, c_size_t]),
}
_LIBRARIES = ("libonnxruntime-genai.so", "libonnxruntime-genai.dylib", "onnxruntime-genai.dll")
_RUNTIMES = ("onnxruntime-gpu", "onnxruntime-directml", "onnxruntime")
_HINT = "Install it with `pip install onnxruntime-genai`."


class NativeError(Exception):
    """What the library says went wrong."""


class Library:
    """The functions of the library; those that can fail raise NativeError."""

    def __init__(self, native: Any) -> None:
        self._native = native
        for name, parameters in _FALLIBLE.items():
            function = getattr(native, name)
            function.argtypes, function.restype = parameters, c_void_p
        for name, (result, parameters) in _OTHER.items():
            function = getattr(native, name)
            function.argtypes, function.restype = parameters, result

    def call(self, name: str, *arguments: Any) -> None:
        """Call `name`. Raises NativeError."""
        failed = getattr(self._native, name)(*arguments)
        if failed:
            said = self._native.OgaResultGetError(failed) or b"no reason given"
            self._native.OgaDestroyResult(failed)
            raise NativeError(said.decode("utf-8", "replace"))

    def make(self, name: str, *arguments: Any) -> c_void_p:
        """The handle that `name` gives as its last argument. Raises NativeError."""
        handle = c_void_p()
        self.call(name, *arguments, ctypes.byref(handle))
        return handle

    def plain(self, name: str, *arguments: Any) -> Any:
        """Call what cannot fail."""
        return getattr(self._native, name)(*arguments)


def load() -> Library:
    """The library, which sends nothing to its maker. Raises EngineMissing."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when it is loaded; official builds have it on
    spec = importlib.util.find_spec("onnxruntime_genai")
    if spec is None or not spec.submodule_search_locations:
        raise EngineMissing("onnxruntime-genai is not installed", hint=_HINT)
    if "onnxruntime_genai" not in sys.modules:
        package = ModuleType("onnxruntime_genai")
        package.__path__ = list(spec.submodule_search_locations)
        package.__spec__ = spec
        sys.modules["onnxruntime_genai"] = package
    folder = Path(spec.submodule_search_locations[0])
    try:
        finder = import_module("onnxruntime_genai._dll_directory")
        finder.add_onnxruntime_dependency(package_name())
        found = next(folder / name for name in _LIBRARIES if (folder / name).exists())
        return Library(ctypes.CDLL(str(found)))
    except (ImportError, OSError, AttributeError, StopIteration) as error:
        raise EngineMissing(f"onnxruntime-genai does not load: {error}", hint=_HINT) from error


def package_name() -> str:
    """The distribution that is installed, a GPU's before the plain one."""
    return next(iter(_installed()), "onnxruntime-genai")


def _installed() -> list[str]:
    return [name for name in PACKAGES if _version(name)]


def runtime_name() -> str:
    """The same of ONNX Runtime under it."""
    return next((name for name in _RUNTIMES if _version(name)), "onnxruntime")


def build() -> str:
    """Versions of the library and of ONNX Runtime under it."""
    name, runtime = package_name(), runtime_name()
    under = f" on {runtime} {version}" if (version := _version(runtime)) else ""
    return f"{name} {_version(name) or ''}".rstrip() + under


def features() -> str:
    """The build, what it was built for, and what else is installed in its place. What it computes
    on is known when a model is loaded: a driver may be missing."""
    load()
    name = package_name()
    others = [each for each in _installed() if each != name]
    said = f"{build()}: built for {PACKAGES[name]}"
    if not others:
        return said
    beside = " and ".join(others)
    return f"{said}; the same files belong to {beside}: uninstall it, then install {name} again"


def _version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # deferred: 10 ms

    try:
        return version(name)
    except PackageNotFoundError:
        return None
