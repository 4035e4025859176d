"""A bug of ours: told in one line, with its details in a file."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Iterator
from pathlib import Path

from ondevice.errors import OnDeviceError
from ondevice.hardware.system import make_private_folder
from ondevice.paths import user_paths


def told(bug: BaseException) -> OnDeviceError:
    """What to say about `bug`; where it happened goes to a private file, if that can be written.

    Neither tells the words of an exception: they may quote what people write.
    """
    message = f"a bug of ondevice ended it: {type(bug).__name__}{_place(bug)}"
    with contextlib.suppress(OnDeviceError, OSError):
        path = user_paths().cache / "bug.txt"
        make_private_folder(path.parent)
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(opened, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(_details(bug))
        return OnDeviceError(message, hint=f"Please report it. Its details: {path}")
    return OnDeviceError(message, hint="Please report it.")


def _place(bug: BaseException) -> str:
    frames = traceback.extract_tb(bug.__traceback__)
    return f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def _details(bug: BaseException | None) -> Iterator[str]:
    """The frames of `bug` and of what it came from, the latest first."""
    while bug is not None:
        yield f"{type(bug).__name__}\n"
        yield from traceback.format_tb(bug.__traceback__)
        bug = bug.__cause__ or bug.__context__
