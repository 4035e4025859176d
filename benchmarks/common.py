"""Measuring two ways of doing the same thing, side by side.

Shared machines drift, so only interleaved pairs mean anything: A B, B A, A B, ... and the ratio
of each pair. Reported are the median ratio and, from three pairs on, its 95 % interval (bootstrap
over the pairs).

The yardsticks are llama.cpp's own tools, built from the source package of llama-cpp-python:

    pip download --no-deps --no-binary llama-cpp-python llama-cpp-python==0.3.36
    tar xzf llama_cpp_python-0.3.36.tar.gz
    cmake -S llama_cpp_python-0.3.36/vendor/llama.cpp -B yardstick -DLLAMA_CURL=OFF \
        -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF
    cmake --build yardstick -j --target llama-bench llama-server llama-cli
    export ONDEVICE_YARDSTICK=$PWD/yardstick/bin
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Arm = Callable[[], float]
FEWEST_FOR_AN_INTERVAL = 3

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a start would compile our modules anew

ONDEVICE = [sys.executable, "-m", "ondevice.cli.main"]


def yardstick(name: str) -> Path:
    """The path of one of llama.cpp's tools; says how to build them where it is missing."""
    path = Path(os.environ.get("ONDEVICE_YARDSTICK", "")) / name
    if not path.is_file():
        sys.exit(f"{name} is missing: set ONDEVICE_YARDSTICK (see benchmarks/common.py)")
    return path


def starter() -> Path:
    """The real starter model."""
    from ondevice import catalog
    from ondevice.hub import local

    return local.resolve("starter", catalog.load()).path


def ondevice_run(model: Path, prompt: str, *options: str) -> dict[str, Any]:
    """One `ondevice run --json`, from the command line to the child and back."""
    command = [*ONDEVICE, "run", "--json", "-m", str(model), *options, prompt]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)[:300]}\n{done.stderr}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def llama_bench(model: Path, *options: str) -> list[dict[str, Any]]:
    """One repetition of llama-bench after its own warm-up."""
    command = [str(yardstick("llama-bench")), "-m", str(model), "-r", "1", "-o", "json", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def pairs(
    a: Arm, b: Arm, count: int, *, warm_up: bool = True, alternate: bool = True
) -> list[tuple[float, float]]:
    """`count` pairs after one unmeasured run of each, the order changing from pair to pair.

    Without `alternate`, `a` is always first: where `b` needs to know what it did.
    """
    if warm_up:
        a(), b()
    found = []
    for number in range(count):
        if number % 2 == 0 or not alternate:
            first = a()
            found.append((first, b()))
        else:
            second = b()
            found.append((a(), second))
    return found


def report(name: str, found: list[tuple[float, float]], bar: float | None, unit: str) -> None:
    """One line: both medians, the median ratio a/b with its interval, and the bar.

    Below three pairs there is no interval: the bootstrap would only repeat what was seen.
    """
    ratios = [a / b for a, b in found]
    spread = ""
    if len(ratios) >= FEWEST_FOR_AN_INTERVAL:
        low, high = interval(ratios)
        spread = f" [{low:.3f}, {high:.3f}]"
    ratio = statistics.median(ratios)
    a = statistics.median(first for first, _ in found)
    b = statistics.median(second for _, second in found)
    verdict = "" if bar is None else f"  bar {bar:g}: {'holds' if ratio >= bar else 'FALLS SHORT'}"
    print(
        f"{name:<44} {a:8.2f} / {b:8.2f} {unit:<6} ratio {ratio:.3f}"
        f"{spread} n={len(found)}{verdict}",
        flush=True,
    )


def interval(values: list[float], rounds: int = 4000) -> tuple[float, float]:
    """95 % bootstrap interval of the median; the seed is fixed."""
    draw = random.Random(1)
    medians = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(rounds))
    return medians[round(0.025 * rounds)], medians[round(0.975 * rounds) - 1]


def pair_count(default: int) -> int:
    """How many pairs: ONDEVICE_PAIRS, for a quick look, or the full number."""
    return int(os.environ.get("ONDEVICE_PAIRS", default))


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """`count` processes that each keep one core busy."""
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


def conditions() -> None:
    """What the figures below were measured on."""
    from ondevice.engines.llamacpp import binding
    from ondevice.hardware import probe

    name = " ".join([probe.cpu_name(), *_generation()])
    print(f"{name}, {probe.usable_cores()} cores, {binding.build()}", flush=True)


def _generation() -> list[str]:
    """What tells apart processors of one name, where the system says: family and model."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    facts = dict(tuple(map(str.strip, line.partition(":")[::2])) for line in lines if ":" in line)
    return [f"{key} {facts[key]}" for key in ("cpu family", "model") if key in facts]
