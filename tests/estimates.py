"""What holds of a memory verdict, whatever file it is of."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from ondevice.domain.fit import MemoryVerdict
from ondevice.domain.memory import MachineMemory
from ondevice.verdict import verdict_lines

MACHINE: Final = MachineMemory(16 << 30, 8 << 30)


def hold(verdict: MemoryVerdict | None) -> None:
    """Where there is one, none of its terms is below zero, and all of it can be shown."""
    assert all(line.isprintable() for _, line in verdict_lines(verdict))
    terms = asdict(verdict.estimate) if verdict else {}
    assert {name: term for name, term in terms.items() if name != "kv_type" and term < 0} == {}
