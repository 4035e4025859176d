"""The memory verdict in words and as data: what a model takes of which memory, and if it fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ondevice import units
from ondevice.domain.fit import SPEED, MemoryVerdict

VERDICTS = {
    "well": "runs well",
    "less_context": "runs with less context",
    "tight": "tight",
    "no": "does not fit",
}


def verdict_lines(
    verdict: MemoryVerdict | None, problem: str | None = None
) -> Iterator[tuple[str, str]]:
    """Labels and words: the verdict, the two kinds of memory, the machine's, speed."""
    if verdict is None:
        yield "memory", f"{units.UNKNOWN}: {problem}" if problem else units.UNKNOWN
    else:
        yield from _memory(verdict)
    yield "speed", SPEED


def _memory(verdict: MemoryVerdict) -> Iterator[tuple[str, str]]:
    needs, machine = verdict.estimate, verdict.machine
    yield "verdict", f"{VERDICTS[verdict.kind]}: {verdict.reason}"
    yield "pages", f"{units.size(needs.pages_bytes)} of the file; the system can drop them"
    parts = {
        "repacked weights": needs.repacked_bytes,
        f"KV cache {needs.kv_type}": needs.kv_bytes,
        "recurrent state": needs.recurrent_bytes,
        "compute buffers": needs.compute_bytes,
        "runtime": needs.runtime_bytes,
    }
    shown = ", ".join(f"{units.size(value)} {name}" for name, value in parts.items() if value)
    yield "private", f"{units.size(needs.private_bytes)}: {shown}"
    free, total = units.size(machine.available_bytes), units.size(machine.total_bytes)
    yield "machine", f"{free} available of {total}"


def verdict_document(verdict: MemoryVerdict | None) -> dict[str, Any] | None:
    """The same for a program."""
    if verdict is None:
        return None
    needs = verdict.estimate
    return asdict(verdict) | {
        "estimate": asdict(needs)
        | {"private_bytes": needs.private_bytes, "pages_bytes": needs.pages_bytes}
    }
