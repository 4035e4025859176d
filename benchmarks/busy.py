"""Threads that follow the load: a 256-token answer, the time to notice included."""

from __future__ import annotations

from pathlib import Path

from common import busy_processes, conditions, ondevice_run, pair_count, pairs, report, starter

from ondevice.hardware import probe

TOKENS = 256


def run(model: Path, *options: str) -> float:
    """Decode tok/s of one answer."""
    got = ondevice_run(model, "a", "--raw", "-t", "0", "--ignore-eos", "-n", str(TOKENS), *options)
    return float(got["timings"]["decode_tok_per_s"])


def main() -> None:
    """Quiet, then with one and two other busy processes."""
    conditions()
    model, cores, count = starter(), probe.usable_cores(), pair_count(15)

    def adaptive() -> float:
        return run(model)

    def fixed(threads: int) -> float:
        return run(model, "--threads", str(threads))

    for threads in range(1, cores + 1):
        found = pairs(adaptive, lambda threads=threads: fixed(threads), count)
        bar = 0.97 if threads == cores else None
        report(f"quiet: adaptive / {threads} fixed", found, bar, "tok/s")
    for hogs in (1, 2):
        with busy_processes(hogs):
            found = pairs(adaptive, lambda: fixed(cores), count if hogs == 1 else min(count, 5))
            bar = 1.6 if hogs == 1 else None
            report(f"{hogs} busy: adaptive / all cores fixed", found, bar, "tok/s")


if __name__ == "__main__":
    main()
