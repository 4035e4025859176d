"""The table at the end of scripts/quantize.sh, and the entries for a catalogue.

quantize_table.py SOURCE RESULT...

bytes          of the file, or of a folder's weights
bits/weight    those bytes over the parameters of the source
perplexity     over a text of our own, with its standard error
KL             divergence from the source in nats, with its standard error
tok/s          the median of RUNS answers, and the slowest and fastest, after one to warm up. All on
               the CPU with the same options, whatever the settings say

A result that an engine refuses costs its own row only.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from quantize import parts_of

from ondevice import units
from ondevice.errors import ModelTrouble
from ondevice.gguf.header import read_model
from ondevice.hardware import probe

PROMPT = "Rivers run to the sea, and the sea is never full. " * 24
ANSWER = 64
RUNS = 3
FAILED = "failed"
THREADS = ("--threads", str(probe.usable_cores()))
ALIKE = (
    *("--raw", "--ignore-eos", "-t", "0", "--repeat-penalty", "1", "-n", str(ANSWER)),
    *("-c", "2048", "--kv-type", "f16", "--flash-attention", "off", "--gpu-layers", "0", *THREADS),
)
"""A context that has room for the prompt also where each byte is a token."""

Judged = dict[str, Any]
"""What `ondevice perplexity` says of one model."""


def main() -> None:
    """Whatever fails is in the table, and makes the exit status 1 when all is said."""
    source, *paths = (Path(each) for each in sys.argv[1:])
    try:
        whole = table(source, paths)
    finally:
        entries(paths)
    if not whole:
        sys.exit("quantize: not all could be measured, see above")


def table(source: Path, paths: list[Path]) -> bool:
    """A row for the source and one for each result; whether all could be measured."""
    parameters, whole = parameters_of(source), True
    columns = f"{'perplexity':>16} {'KL':>24} {'decode tok/s':>25} {'prefill tok/s':>25}"
    print(f"{'result':<36} {'bytes':>13} {'bits/weight':>11} {columns}", flush=True)
    for path, judged in zip([source, *paths], quality(source, paths), strict=True):
        runs, size = speeds(path), size_of(path)
        bits = f"{8 * size / parameters:.2f}" if parameters else units.UNKNOWN
        lost = "source" if path == source else estimate(judged, "divergence", "mean")
        print(
            f"{path.name:<36} {size:>13,} {bits:>11} {estimate(judged, 'perplexity'):>16} "
            f"{lost:>24} {rate(runs, 'decode'):>25} {rate(runs, 'prefill'):>25}",
            flush=True,
        )
        whole = whole and bool(runs) and FAILED not in (estimate(judged, "perplexity"), lost)
    return whole


def quality(source: Path, paths: list[Path]) -> list[Judged | None]:
    """Of the source and of each result: at once, which reads the source once, or one by one where
    that fails. None is what cannot be judged at all."""
    together = perplexity(*paths, reference=source)
    if together:
        return [*together]
    alone = perplexity(source)
    found: list[Judged | None] = [alone[-1] if alone else None]
    for path in paths:
        judged = (alone and perplexity(path, reference=source)) or perplexity(path)
        found.append(judged[-1] if judged else None)
    return found


def perplexity(*paths: Path, reference: Path | None = None) -> list[Judged]:
    """A reference comes first; empty where one of them cannot be judged."""
    beside = ("--reference", str(reference)) if reference else ()
    document = ondevice("perplexity", *map(str, paths), *beside, *THREADS)
    return document["models"] if document else []


def speeds(path: Path) -> list[dict[str, Any]]:
    """The timings of each measured answer; empty where one failed."""
    command = ("run", "-m", str(path), *ALIKE, PROMPT)
    show(*command, times=1 + RUNS)
    answers = []
    for _ in range(1 + RUNS):
        answer = ondevice(*command, told=False)
        if answer is None:
            return []
        answers.append(answer["timings"])
    return answers[1:]


def ondevice(*arguments: str, told: bool = True) -> dict[str, Any] | None:
    """The document of a command; None where it failed, of which it has said why."""
    if told:
        show(*arguments)
    command = [sys.executable, "-m", "ondevice.cli.main", *arguments, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    document: dict[str, Any] | None = json.loads(done.stdout) if done.returncode == 0 else None
    return document


def show(*arguments: str, times: int = 1) -> None:
    """As quantize.sh shows each command."""
    again = f"   # {times} times" if times > 1 else ""
    print(f"   ondevice {shlex.join(arguments)} --json{again}", file=sys.stderr, flush=True)


def estimate(judged: Judged | None, *names: str) -> str:
    """A number with its standard error."""
    found: Any = judged
    for name in names:
        found = found and found[name]
    return units.estimate(found["value"], found["standard_error"]) if found else FAILED


def rate(runs: list[dict[str, Any]], name: str) -> str:
    """`45.1 (44.2 to 46.0)`."""
    if not runs:
        return FAILED
    values = [each[f"{name}_tok_per_s"] for each in runs]
    if None in values:
        return units.UNKNOWN
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def entries(paths: list[Path]) -> None:
    """What a models.toml says of each; where it is given away is for its maker to fill in."""
    for path in paths:
        gguf = path.is_file()
        kind = "llama.cpp" if gguf else "onnx"
        print(f"\n[[model.files]]\nengine = '{kind}'")
        print(f"quantization = '{path.name.removesuffix('.gguf').rpartition('-')[2]}'")
        print(f"repository = 'OWNER/NAME'\npath = '{path.name}'")
        print(f"size_bytes = {size_of(path)}")
        if gguf:
            with path.open("rb") as file:
                print(f"sha256 = '{hashlib.file_digest(file, 'sha256').hexdigest()}'")


def size_of(path: Path) -> int:
    """Bytes of a file with all its parts, or of the weights in a folder."""
    if path.is_dir():
        return sum(each.stat().st_size for each in path.iterdir() if ".onnx" in each.name)
    return sum(each.stat().st_size for each in parts_of(path))


def parameters_of(path: Path) -> int | None:
    """As the header of a GGUF file counts them."""
    try:
        return read_model(parts_of(path)).tensors.parameters
    except ModelTrouble:
        return None


if __name__ == "__main__":
    main()
