"""A bug of ours: told in one line, with its details in a file."""

from __future__ import annotations

import contextlib
import os
import traceback

from ondevice.errors import OnDeviceError
from ondevice.hardware.system import make_private_folder
from ondevice.paths import user_paths


def told(bug: Exception) -> OnDeviceError:
    """What to say about `bug`; its traceback goes to a private file, if that can be written.

    Only source lines are in it, no values of variables: those hold what people write.
    """
    message = f"a bug of ondevice ended it: {type(bug).__name__}: {bug}"
    with contextlib.suppress(OnDeviceError, OSError):
        path = user_paths().cache / "bug.txt"
        make_private_folder(path.parent)
        lines = traceback.format_exception(bug)
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(opened, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(lines)
        return OnDeviceError(message, hint=f"Please report it. Its details: {path}")
    return OnDeviceError(message, hint="Please report it.")
