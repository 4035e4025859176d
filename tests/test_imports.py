"""What runs without the screen loads no screen, and starting up loads nearly nothing.

Each module is imported in a process of its own, forked from one that has imported nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ondevice

HEAVY = {
    "textual",
    "rich",
    "llama_cpp",
    "onnxruntime",
    "onnxruntime_genai",
    "numpy",
    "huggingface_hub",
    "genai_prices",
    "tomlkit",
}
ONLY_THE_CHILD = ("ondevice.engines.llamacpp", "ondevice.engines.onnx")
SCREENS = ("ondevice.tui", "ondevice.cli.app")

IMPORT_EACH = """
import json, os, sys
before = set(sys.modules)
def loaded_by(module):
    __import__(module)
    return sorted({name.partition(".")[0] for name in set(sys.modules) - before})
found = {}
for module in sys.argv[1:]:
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            answer = loaded_by(module)
        except BaseException as error:
            answer = repr(error)
        os.write(writer, json.dumps(answer).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        found[module] = json.load(pipe)
    os.wait()
print(json.dumps(found))
"""


def modules() -> list[str]:
    root = Path(ondevice.__file__).parent
    names = []
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


HEADLESS = [name for name in modules() if not name.startswith((*SCREENS, *ONLY_THE_CHILD))]


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """For each module the names of all packages that importing it loads."""
    answer = subprocess.run(
        [sys.executable, "-c", IMPORT_EACH, *HEADLESS],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, list[str]] = json.loads(answer.stdout)
    return found


@pytest.mark.parametrize("module", HEADLESS)
def test_a_headless_module_loads_nothing_heavy(module: str, loaded: dict[str, list[str]]) -> None:
    assert isinstance(loaded[module], list), loaded[module]
    assert not HEAVY & set(loaded[module])


@pytest.mark.parametrize(
    "module", [name for name in HEADLESS if name.startswith(("ondevice.domain", "ondevice.errors"))]
)
def test_the_domain_needs_the_standard_library_only(
    module: str, loaded: dict[str, list[str]]
) -> None:
    others = {
        name for name in loaded[module] if name.lstrip("_") and name not in sys.stdlib_module_names
    }
    assert others == {"ondevice"}


def test_the_walk_finds_every_room() -> None:
    rooms = {name.split(".")[1] for name in HEADLESS if "." in name}
    assert {
        "chat",
        "measure",
        "storage",
        "hub",
        "hardware",
        "engines",
        "gguf",
        "cli",
        "settings",
    } <= rooms


def run_help() -> set[str]:
    """The packages that `ondevice --help` loads."""
    code = """
import sys
sys.argv = ["ondevice", "--help"]
from ondevice.cli.main import main
try:
    main()
finally:
    print(*{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
"""
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "Usage: ondevice" in answer.stdout
    return set(answer.stderr.split())


def test_help_loads_neither_heavy_nor_middling_packages() -> None:
    loaded = run_help()
    assert "click" in loaded
    assert not (HEAVY | {"msgspec", "psutil", "platformdirs", "jinja2"}) & loaded


def test_completing_a_model_loads_nothing_heavy() -> None:
    code = """
import sys
from ondevice.cli.main import main
sys.argv = ["ondevice"]
try:
    main()
finally:
    print(*{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
"""
    asked = {"_ONDEVICE_COMPLETE": "bash_complete", "COMP_WORDS": "ondevice run -m smol"}
    answer = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | asked | {"COMP_CWORD": "3"},
    )
    assert "plain,smollm2-135m-instruct" in answer.stdout.splitlines()
    assert not HEAVY & set(answer.stderr.split())


def test_help_is_there_at_once() -> None:
    """0.1 s when nothing else runs; the bound leaves room for a busy machine."""
    times = []
    for _ in range(3):
        started = time.monotonic()
        run_help()
        times.append(time.monotonic() - started)
    assert min(times) < 1.5


def test_the_first_paint_waits_for_nothing_of_models() -> None:
    code = """
import sys
import ondevice.cli.app, ondevice.tui.app
print(*{".".join(name.split(".")[:2]) for name in sys.modules if name.startswith("ondevice.")})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "ondevice.chat" in loaded
    assert not {"ondevice.hub", "ondevice.gguf", "ondevice.onnx"} & loaded
