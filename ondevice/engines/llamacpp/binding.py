"""The C functions of llama.cpp, as llama-cpp-python declares them.

Importing the package `llama_cpp` also imports its high-level classes, numpy and a disk cache:
210 ms of CPU against 50 ms for the declarations alone. So the package's `__init__` is stepped
over: an empty module of its name gets its search path, and only the declarations are imported.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from ondevice.errors import EngineMissing

Functions = Mapping[str, Mapping[str, tuple[Any, list[Any]]]]
"""By library: what each function answers with, and its parameters."""
HINT = "Install it with `pip install llama-cpp-python`; it builds with a C++ compiler."


def load() -> Any:
    """The module of declarations. Raises EngineMissing."""
    if "llama_cpp" not in sys.modules:
        spec = importlib.util.find_spec("llama_cpp")
        if spec is None or spec.submodule_search_locations is None:
            raise EngineMissing("llama-cpp-python is not installed", hint=HINT)
        package = ModuleType("llama_cpp")
        package.__path__ = list(spec.submodule_search_locations)
        package.__spec__ = spec
        sys.modules["llama_cpp"] = package
    try:
        return import_module("llama_cpp.llama_cpp")
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise EngineMissing(f"llama.cpp does not load: {error}", hint=HINT) from error


def folder() -> Path:
    """Where the native libraries are. Raises EngineMissing."""
    return Path(load()._lib._name).parent


def ggml(functions: Functions) -> dict[str, Any]:
    """Functions of ggml's libraries that the module does not declare. Raises EngineMissing."""
    found: dict[str, Any] = {}
    try:
        for library, declared in functions.items():
            for name, (result, parameters) in declared.items():
                found[name] = _function(name, library)
                found[name].restype, found[name].argtypes = result, parameters
    except (OSError, RuntimeError, AttributeError, ValueError) as error:
        raise EngineMissing(f"ggml does not load: {error}", hint=HINT) from error
    return found


def _function(name: str, library: str) -> Any:
    """Through llama.cpp's own library where the system looks on from there: opened by its file, a
    library that a package holds as a copy, not as a link, would be there twice."""
    try:
        return load()._lib[name]  # a new object each time, unlike an attribute
    except AttributeError:
        open_library = import_module("llama_cpp._ctypes_extensions").load_shared_library
        return open_library(library, folder())[name]


def build() -> str:
    """`llama-cpp-python 0.3.36`; what it was compiled for is in `features`."""
    from importlib.metadata import PackageNotFoundError, version  # deferred: 10 ms

    try:
        return f"llama-cpp-python {version('llama-cpp-python')}"
    except PackageNotFoundError:
        return "llama-cpp-python"


def features() -> str:
    """The build, what llama.cpp says it was compiled for, and its devices."""
    lib = load()
    info = lib.llama_print_system_info().decode("utf-8", "replace")
    on = [part.split("=")[0].strip() for part in info.split("|") if part.strip().endswith("= 1")]
    gpu = "GPU offload" if lib.llama_supports_gpu_offload() else "CPU only"
    return f"{build()}, {gpu}: {', '.join(on)}"


def library_mark() -> str:
    """What changes when llama.cpp itself is built or installed anew."""
    status = Path(load()._lib._name).stat()
    return f"{status.st_size}-{status.st_mtime_ns}"
