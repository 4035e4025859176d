"""Engines that ended: what to say, and files that end theirs again and again."""

from __future__ import annotations

import time

from ondevice.domain.model import ModelFile
from ondevice.domain.text import clean_line
from ondevice.engines.child import Child, FileMark, mark_of
from ondevice.errors import EngineCrashed, ModelBlocked

CRASHES_TO_BLOCK = 3
CRASH_WINDOW_S = 60.0


class Crashes:
    """When which file ended its engine."""

    def __init__(self) -> None:
        self._at: dict[FileMark, list[float]] = {}

    def note(self, mark: FileMark) -> None:
        """That file ended its engine now."""
        self._at.setdefault(mark, []).append(time.monotonic())

    def refuse_if_blocked(self, file: ModelFile) -> None:
        """Raises ModelBlocked. A file that was replaced or mended since counts as another one."""
        mark = mark_of(*file.paths)
        since = time.monotonic() - CRASH_WINDOW_S
        recent = [at for at in self._at.pop(mark, ()) if at > since]
        if recent:
            self._at[mark] = recent
        if len(recent) >= CRASHES_TO_BLOCK:
            raise ModelBlocked(
                f"{file.name} crashed its engine {len(recent)} times in a minute",
                hint="Wait a minute, use another file, or check this one with `ondevice show`.",
            )


def crashed(child: Child) -> EngineCrashed:
    """What to say of an engine that has ended."""
    reason, said = child.exit_reason(), child.last_words()
    if child.file_mark != mark_of(*child.file.paths):
        message = f"the engine stopped ({reason}): the model file changed while it was loaded"
    else:
        last = clean_line(said.splitlines()[-1]) if said else ""
        message = f"the engine stopped: {reason}" + (f" ({last})" if last else "")
    hint = "Load the model again to go on"
    # also what llama.cpp does where it was compiled wrongly for this processor (see the Makefile)
    faulty = "SIGSEGV" in reason or "SIGILL" in reason
    if child.on_device:  # a driver can end it
        hint += "; if it stops again, keep it off the GPU: --gpu-layers 0, or gpu_layers = 0"
        hint += " in the settings."
    else:
        hint += "; if it stops again, try `ondevice chat --repack off`." if faulty else "."
    return EngineCrashed(message, hint=hint, log_tail=said)
